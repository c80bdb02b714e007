from rest_framework import serializers, viewsets

from bench.peers.naive_app.models import Instance, Region, SshKey, Type


class RegionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Region
        fields = ["slug", "name", "country"]


class TypeSerializer(serializers.ModelSerializer):
    class Meta:
        model = Type
        fields = ["slug", "vcpus", "memory_mb", "disk_gb"]


class SshKeySerializer(serializers.ModelSerializer):
    class Meta:
        model = SshKey
        fields = ["id", "name"]


class InstanceSerializer(serializers.ModelSerializer):
    region = RegionSerializer(read_only=True)
    type = TypeSerializer(read_only=True)
    ssh_keys = SshKeySerializer(many=True, read_only=True)
    region_slug = serializers.SlugRelatedField("slug", source="region", queryset=Region.objects, write_only=True)
    type_slug = serializers.SlugRelatedField("slug", source="type", queryset=Type.objects, write_only=True)
    key_ids = serializers.PrimaryKeyRelatedField(source="ssh_keys", queryset=SshKey.objects, many=True, write_only=True)

    class Meta:
        model = Instance
        fields = [
            *("id name status region type ssh_keys tags public_ip hourly_price protected".split()),
            *("created_at updated_at region_slug type_slug key_ids".split()),
        ]


class Instances(viewsets.ModelViewSet):
    serializer_class = InstanceSerializer

    def get_queryset(self):
        rows = Instance.objects.filter(user=self.request.user)
        return rows.select_related("region", "type").prefetch_related("ssh_keys")

    def perform_create(self, serializer):
        serializer.save(user=self.request.user)
