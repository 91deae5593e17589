"""The messages of the queues: one type for each, and the one place where they are read.

A message only says what to look at; the row says what there is to do. So one that comes twice, late or never does no
harm, and one that cannot be read is dropped: what it meant is due in the table.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from chalicelib.base import instants, telemetry

Id = Annotated[str, Field(min_length=1, max_length=200)]


class Message(BaseModel):
    """What all messages are: flat, small, with the domain by which SQS shares the workers out. A member that is not
    known is another version's, and passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    domain: Id

    def sent(self) -> Mapping[str, Any]:
        """The message as it is sent."""
        return self.model_dump(mode="json")


class CarryOut(Message):
    """Carry out the run."""

    run_id: Id


class Fire(Message):
    """A schedule's due time has come; EventBridge writes this one."""

    export_id: Id
    due: Annotated[datetime, BeforeValidator(instants.parse)]


class Attempt(Message):
    """Attempt the delivery."""

    endpoint_id: Id
    delivery_id: Id


class Compact(Message):
    """Compact the domain's lake."""

    job: Literal["compact"] = "compact"


class Erase(Message):
    """Erase the files that purges of the domain ask for."""

    job: Literal["erase"] = "erase"


class ReadImport(Message):
    """Bring the import one step on."""

    job: Literal["import"] = "import"
    import_id: Id


Job = Compact | Erase | ReadImport
RUNS: TypeAdapter[CarryOut | Fire] = TypeAdapter(CarryOut | Fire)
DELIVERIES: TypeAdapter[Attempt] = TypeAdapter(Attempt)
JOBS: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="job")])


def read[Kind: Message](queue: TypeAdapter[Kind], body: str) -> Kind | None:
    """The message that a body holds; None, logged and counted, when it holds none of that queue."""
    try:
        return queue.validate_json(body)
    except ValidationError as error:
        telemetry.alarm("message dropped", **telemetry.failure(error))
        telemetry.count("MessagesDropped")
        return None
