"""What operators order a single worker to do, carried out by its manager, who supervises it."""

from typing import Any

from durable_otp.otp import Message
from durable_otp.otp.process import Child
from durable_otp.runtime.crew import Crew
from durable_otp.runtime.orders import Refusal, Result, kill, stacks
from durable_otp.runtime.station import Station
from durable_otp.storage.commands import Status, Verb


async def carry_out(crew: Crew, queue: str, message: Message) -> dict[str, Any]:
    """Do what the root has passed on; return the answer's fields."""
    try:
        result = await _perform(crew, queue, message.fields)
    except Refusal as refusal:
        result = refusal.result
    except Exception as error:  # noqa: BLE001 - a defect is an answer too, silence is none
        result = Result(Status.FAILED, f"Its manager met a defect: {error!r}.")
    return {"id": message.fields["id"], "status": result.status, "outcome": result.outcome}


async def _perform(crew: Crew, queue: str, order: dict[str, Any]) -> Result:
    name = f"{queue}/{order['worker']}"
    station = next((each for each in crew.stations if each.worker == order["worker"]), None)
    child = None if station is None else station.child
    life = None if child is None else (child.pid, child.started_at)
    if station is None or child is None or life != (order["pid"], order["at"]):
        raise Refusal(Status.GONE, f"Process {order['pid']} is not worker {name!r} any more.")
    match order["verb"]:
        case Verb.KILL:
            return await kill(child, name)
        case Verb.STACKS:
            return await stacks(child, name)
        case _:
            return await _replace(crew, station, child, name)


async def _replace(crew: Crew, station: Station, child: Child, name: str) -> Result:
    """Have it finish its step and end; there are always as many workers as there are to be."""
    await crew.relieve(station, child)
    if not child.exited.done():
        raise Refusal(Status.FAILED, f"{name!r} (process {child.pid}) cannot be ended.")
    how = child.exited.result()
    return Result(
        Status.DONE,
        f"{name!r} (process {child.pid}) has ended: {how}; another process takes its place.",
    )
