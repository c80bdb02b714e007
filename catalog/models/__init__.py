from catalog.models.image import Image
from catalog.models.instance_type import InstanceType
from catalog.models.plan import Plan
from catalog.models.price import Price
from catalog.models.region import Region

__all__ = ["Image", "InstanceType", "Plan", "Price", "Region"]
