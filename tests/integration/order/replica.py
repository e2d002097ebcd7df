"""An order replica or worker in this process: real database, real Redis, and a controllable inventory."""

from typing import Protocol

from services.common.postgres import Pool
from services.common.redis import BestEffort
from services.common.settings import read
from services.order.backlog import Backlog
from services.order.breaker_sync import BreakerSync
from services.order.processing import COMMIT_TIMEOUT, Processing
from services.order.runtime import Runtime
from services.order.settings import OrderSettings
from services.order.worker import Worker
from tests.unit.common.environment import ENVIRON
from tests.unit.order.fake_inventory import Warehouse, reply


class Replica:
    """The parts of a process, connected as in the service. Settings are named without their prefix."""

    def __init__(
        self, pool: Pool, redis: BestEffort, *, patient: bool = False, patience: float = COMMIT_TIMEOUT, **settings: str
    ) -> None:
        variables = ENVIRON | {f"VALERIX_{name}": value for name, value in settings.items()}
        self.settings = read(OrderSettings, variables)
        self.breaker_sync = BreakerSync(self.settings, "order", redis)
        self.warehouse = Warehouse(
            patient=patient, limit=self.settings.inventory_timeout_seconds, breaker=self.breaker_sync.breaker
        )
        self.warehouse.responses["/api/inventory/ps5"] = reply(200, {"item_id": "ps5"})
        self.backlog = Backlog(pool, self.settings.backlog_cap, self.settings.replica)
        self.processing = Processing(self.settings, pool, redis, self.warehouse.inventory, self.backlog, patience)
        runtime = Runtime(pool, redis, self.breaker_sync, self.warehouse.inventory, self.backlog, self.processing)
        self.worker = Worker(self.settings, runtime)

    async def finish(self) -> None:
        self.warehouse.release_all()
        await self.worker.shutdown()
        await self.processing.close()


class Start(Protocol):
    """Starts a replica with these settings. Its inventory responds at once or, if `patient`, on request of the test."""

    def __call__(self, *, patient: bool = False, patience: float = COMMIT_TIMEOUT, **settings: str) -> Replica: ...
