"""The catalogue that a new Lambda starts with. Operators change it in the admin; this never runs again."""

from datetime import UTC, datetime
from decimal import Decimal

from django.db import migrations

REGIONS = [
    ("us-east-1", "US East (N. Virginia)", "US", ["us-east"]),
    ("us-east-2", "US East (Ohio)", "US", []),
    ("us-west-1", "US West (N. California)", "US", ["us-west"]),
    ("us-west-2", "US West (Oregon)", "US", []),
    ("ca-central-1", "Canada (Central)", "CA", ["ca-central"]),
    ("ca-west-1", "Canada West (Calgary)", "CA", ["ca-west"]),
    ("mx-central-1", "Mexico (Central)", "MX", ["mx-central"]),
    ("sa-east-1", "South America (São Paulo)", "BR", ["sa-east"]),
    ("eu-west-1", "Europe (Ireland)", "IE", ["eu-west"]),
    ("eu-west-2", "Europe (London)", "GB", []),
    ("eu-west-3", "Europe (Paris)", "FR", []),
    ("eu-central-1", "Europe (Frankfurt)", "DE", ["eu-central"]),
    ("eu-central-2", "Europe (Zurich)", "CH", []),
    ("eu-north-1", "Europe (Stockholm)", "SE", ["eu-north"]),
    ("eu-south-1", "Europe (Milan)", "IT", ["eu-south"]),
    ("eu-south-2", "Europe (Spain)", "ES", []),
    ("af-south-1", "Africa (Cape Town)", "ZA", ["af-south"]),
    ("il-central-1", "Israel (Tel Aviv)", "IL", ["il-central"]),
    ("me-central-1", "Middle East (UAE)", "AE", ["me-central"]),
    ("me-south-1", "Middle East (Bahrain)", "BH", ["me-south"]),
    ("ap-south-1", "Asia Pacific (Mumbai)", "IN", ["ap-south"]),
    ("ap-south-2", "Asia Pacific (Hyderabad)", "IN", []),
    ("ap-east-1", "Asia Pacific (Hong Kong)", "HK", ["ap-east"]),
    ("ap-southeast-1", "Asia Pacific (Singapore)", "SG", ["ap-southeast"]),
    ("ap-southeast-2", "Asia Pacific (Sydney)", "AU", []),
    ("ap-southeast-3", "Asia Pacific (Jakarta)", "ID", []),
    ("ap-southeast-4", "Asia Pacific (Melbourne)", "AU", []),
    ("ap-southeast-5", "Asia Pacific (Malaysia)", "MY", []),
    ("ap-southeast-7", "Asia Pacific (Thailand)", "TH", []),
    ("ap-northeast-1", "Asia Pacific (Tokyo)", "JP", ["ap-northeast"]),
    ("ap-northeast-2", "Asia Pacific (Seoul)", "KR", []),
    ("ap-northeast-3", "Asia Pacific (Osaka)", "JP", []),
]
# slug, family, vcpus, memory in MB, disk in GB, aliases, USD an hour
TYPES = [
    ("compute-1x", "compute", 1, 1024, 10, ["t2.micro", "t3.micro"], "0.008"),
    ("compute-2x", "compute", 2, 2048, 20, ["t2.small", "t3.small"], "0.016"),
    ("compute-4x", "compute", 4, 4096, 40, ["t2.medium", "t3.medium"], "0.032"),
    ("compute-8x", "compute", 8, 8192, 80, ["t2.large", "t3.large"], "0.064"),
    ("compute-16x", "compute", 16, 16384, 160, ["t2.xlarge", "t3.xlarge"], "0.128"),
    ("memory-1x", "memory", 1, 4096, 10, [], "0.014"),
    ("memory-2x", "memory", 2, 8192, 20, ["r5.medium"], "0.028"),
    ("memory-4x", "memory", 4, 16384, 40, ["r5.large"], "0.056"),
    ("memory-8x", "memory", 8, 32768, 80, ["r5.xlarge"], "0.112"),
    ("memory-16x", "memory", 16, 65536, 160, ["r5.2xlarge"], "0.224"),
]
IMAGES = [
    ("ubuntu-24.04", "Ubuntu 24.04 LTS", "ubuntu", "24.04"),
    ("ubuntu-22.04", "Ubuntu 22.04 LTS", "ubuntu", "22.04"),
    ("debian-13", "Debian 13", "debian", "13"),
    ("debian-12", "Debian 12", "debian", "12"),
]
# slug, name, requests an hour, burst, instances, vcpus, SSH keys, API keys, USD a month
PLANS = [
    ("free", "Free", 1_000, 50, 5, 8, 20, 20, "0"),
    ("professional", "Professional", 10_000, 200, 50, 200, 100, 100, "49"),
    ("enterprise", "Enterprise", 100_000, 1_000, 1_000, 4_000, 1_000, 1_000, "499"),
]


def seed(apps, schema_editor):
    def fill(model, rows):
        model.objects.bulk_create(model(position=position, **row) for position, row in enumerate(rows))

    get = apps.get_model
    fill(get("catalog", "Region"), [{"slug": s, "name": n, "country": c, "aliases": a} for s, n, c, a in REGIONS])
    fill(get("catalog", "Image"), [{"slug": s, "name": n, "distribution": d, "release": r} for s, n, d, r in IMAGES])
    fill(
        get("catalog", "InstanceType"),
        [
            {"slug": s, "name": s, "family": f, "vcpus": v, "memory_mb": m, "disk_gb": d, "aliases": a}
            for s, f, v, m, d, a, _ in TYPES
        ],
    )
    names = "slug name requests_per_hour burst max_instances max_vcpus max_ssh_keys max_api_keys monthly_price".split()
    fill(get("catalog", "Plan"), [dict(zip(names, row, strict=True)) for row in PLANS])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    price = get("catalog", "Price")
    price.objects.bulk_create(
        price(sku=f"instance.{slug}", unit_price=Decimal(hourly), effective_from=start) for slug, *_, hourly in TYPES
    )


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
