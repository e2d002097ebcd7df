"""The minimal settings of a service."""

TOKENS = ("s-4f1c9a7be2d05836", "s-77ab10c9de42f3b5", "o-93be07d1c6a8f245", "o-1c5d2e8f90ab37c4")

ENVIRON = {
    "VALERIX_DATABASE_URL": "postgresql://order_service:pw@127.0.0.1:1/order_db",
    "VALERIX_REDIS_URL": "redis://127.0.0.1:1",
    "VALERIX_PORT": "3001",
    "VALERIX_REPLICA": "order-1",
    "VALERIX_SERVICE_TOKENS": TOKENS[0],
    "VALERIX_OPERATOR_TOKENS": TOKENS[2],
    "VALERIX_INVENTORY_URL": "http://127.0.0.1:3002",
}
