"""What we sell: regions, instance types, images, plans and their prices. Operators edit it in the admin."""
