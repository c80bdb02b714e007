"""What plans allow of functions, and what executions cost."""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import migrations, models

# slug, functions, executions at once
PLANS = [("free", 20, 20), ("professional", 500, 200), ("enterprise", 10_000, 1_000)]
# sku, unit, USD
PRICES = [("function.executions", "execution", "0.0000002"), ("function.memory", "GB-hour", "0.06")]


def seed(apps, schema_editor):
    for slug, functions, concurrency in PLANS:
        plans = apps.get_model("catalog", "Plan").objects.filter(slug=slug)
        plans.update(max_functions=functions, max_concurrency=concurrency)
    price, start = apps.get_model("catalog", "Price"), datetime(2024, 1, 1, tzinfo=UTC)
    price.objects.bulk_create(
        price(sku=sku, unit=unit, unit_price=Decimal(amount), effective_from=start) for sku, unit, amount in PRICES
    )


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_seed")]
    operations = [
        migrations.AddField("plan", "max_functions", models.PositiveIntegerField(default=0)),
        migrations.AddField(
            "plan",
            "max_concurrency",
            models.PositiveIntegerField(default=0, help_text="Executions of all functions at once."),
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
