from django.db import models


class User(models.Model):
    name = models.CharField(max_length=100)
    is_authenticated = True


class Key(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)


class Region(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    country = models.CharField(max_length=2)


class Type(models.Model):
    slug = models.SlugField(unique=True)
    vcpus = models.IntegerField()
    memory_mb = models.IntegerField()
    disk_gb = models.IntegerField()


class SshKey(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    public_key = models.TextField()


class Instance(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    region = models.ForeignKey(Region, on_delete=models.PROTECT)
    type = models.ForeignKey(Type, on_delete=models.PROTECT)
    ssh_keys = models.ManyToManyField(SshKey)
    tags = models.JSONField(default=dict)
    status = models.CharField(max_length=16, default="pending")
    public_ip = models.GenericIPAddressField(null=True)
    hourly_price = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    protected = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
