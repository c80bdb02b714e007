"""What forms of every app do alike: show a verb's refusal beside the field that it is about."""

from django import forms

from core.errors import Invalid, LambdaError


def explain(form: forms.BaseForm, refused: LambdaError) -> None:
    """Put a verb's complaints beside the fields they are about, and what is about none above them all."""
    errors = refused.errors if isinstance(refused, Invalid) else []
    for error in errors:
        form.add_error(error.field if error.field in form.fields else None, error.message)
    if not errors:
        form.add_error(None, " ".join(filter(None, [refused.message, refused.suggestion])))
