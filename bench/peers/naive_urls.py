from django.urls import include, path
from rest_framework.routers import SimpleRouter

from bench.peers.naive_app.views import Instances

router = SimpleRouter(trailing_slash=False)
router.register("instances", Instances, basename="instance")
urlpatterns = [path("v1/", include(router.urls))]
