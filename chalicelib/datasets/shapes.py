"""What datasets and segments are asked with, as discriminated unions: what the description tells, and what a request
must be that the readers beside have let through. What takes the domain's catalogue is the readers' alone."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, TypeAdapter

from chalicelib.base.shapes import Instant, Shape
from chalicelib.datasets.conversation_participants import Include
from chalicelib.datasets.events import MAX_EVENTS, MAX_PARAMS
from chalicelib.datasets.params import MAX_NAME, MAX_VALUES, MAX_WHERE, Operator
from chalicelib.datasets.ranges import Unit
from chalicelib.datasets.raw import MAX_ATTRIBUTES, MAX_WANTED
from chalicelib.datasets.reading import MAX_TEXT
from chalicelib.datasets.segments import MAX_EVENT_NAME, TimesWord
from chalicelib.datasets.selection import MAX_COLUMNS

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EVENT_NAME)]
ParamName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Membership = Literal["subscribed", "unsubscribed", "purged", "one_time"]
Scalar = str | bool | int | float
Values = Annotated[list[Scalar], Field(max_length=MAX_VALUES)]
Code = Annotated[int | float | Text, Field(description="A number or a text.")]


class Times(Shape):
    """How often an event must have happened."""

    op: TimesWord
    """How the number is compared."""
    value: Annotated[int, Field(ge=0)]
    """The number; 0 with `eq` is "did not"."""


class LastRange(Shape):
    """The last so many units up to `as_of`, both ends inclusive."""

    last: Annotated[int, Field(ge=1)]
    """How many."""
    unit: Unit
    """Weeks are 7 days, months calendar months in the timezone."""


class BetweenRange(Shape):
    """From an instant, inclusive, to another, exclusive."""

    from_: Annotated[Instant, Field(alias="from")]
    """The first instant."""
    to: Instant
    """The first instant that is not in it."""


def _range(value: Any) -> str:
    return "last" if isinstance(value, dict) and ("last" in value or "unit" in value) else "between"


Range = Annotated[Annotated[LastRange, Tag("last")] | Annotated[BetweenRange, Tag("between")], Discriminator(_range)]


class Where(Shape):
    """A condition on a parameter of an event."""

    param: ParamName
    """The parameter's name."""
    op: Operator
    """How it is compared; `contains` and `starts_with` without regard to case."""
    values: Values | None = None
    """Any of these (none of them with `ne`); exactly one for an order, none for `exists` and `not_exists`."""


class EventCondition(Shape):
    """An event happened so many times."""

    event: EventName
    """The event's name."""
    times: Times | None = None
    """How often; at least once by default."""
    range: Range | None = None
    """When; at any time by default."""
    where: Annotated[list[Where], Field(max_length=MAX_WHERE)] | None = None
    """What must all hold on the same event."""


class AttributeCondition(Shape):
    """A profile or system column is compared."""

    attribute: Text
    """The column's name."""
    op: Operator
    """How it is compared; a missing value satisfies `ne` and `not_exists` only."""
    values: Values | None = None
    """Any of these (none of them with `ne`); a choice by its label or code."""


class ChannelCondition(Shape):
    """A journey's message was sent, clicked and so on; a channel, an action or both."""

    channel: Text | None = None
    """The channel's code or name, such as EM."""
    action: int | float | Text | None = None
    """The action's code or name, such as CLICK."""
    journey_id: Code | None = None
    """Of which journey."""
    campaign_id: Code | None = None
    """Of which campaign."""
    times: Times | None = None
    """How often; at least once by default."""
    range: Range | None = None
    """When; at any time by default."""


class All(Shape):
    """All of the members match."""

    all: Annotated[list["Segment"], Field(min_length=1)]
    """At most 5 levels deep, 50 conditions in all."""


class AnyOf(Shape):
    """One of the members matches at least."""

    any: Annotated[list["Segment"], Field(min_length=1)]
    """At most 5 levels deep, 50 conditions in all."""


class Not(Shape):
    """The member does not match: its exact complement."""

    not_: Annotated["Segment", Field(alias="not")]
    """What must not match."""


def _segment(value: Any) -> str | None:
    words = value if isinstance(value, dict) else {}
    return next((word for word in ("all", "any", "not", "event", "attribute") if word in words), "channel")


Segment = Annotated[
    Annotated[All, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")]
    | Annotated[EventCondition, Tag("event")]
    | Annotated[AttributeCondition, Tag("attribute")]
    | Annotated[ChannelCondition, Tag("channel")],
    Discriminator(_segment),
]
All.model_rebuild()
AnyOf.model_rebuild()
Not.model_rebuild()

Names = Literal["all"] | Annotated[list[str], Field(max_length=MAX_COLUMNS)]


class Columns(Shape):
    """Which columns, by the three tabs of the catalogue: `all`, or names in the order of the file."""

    system: Names | None = None
    """Of the system columns."""
    profile: Names | None = None
    """Of the domain's profile attributes."""
    participation: Names | None = None
    """Of the participation metrics."""


class ParticipantsDataset(Shape):
    """One row a participant."""

    kind: Literal["participants"]
    """Which dataset."""
    memberships: Annotated[list[Membership], Field(min_length=1, max_length=4)]
    """Participants of which memberships."""
    columns: Columns | None = None
    """Which columns; by default all system and profile columns."""
    segment: Segment | None = None
    """Which of them; null for all."""


class UsersDataset(Shape):
    """The participants of a segment, never purged ones, with at most 20 columns."""

    kind: Literal["users"]
    """Which dataset."""
    columns: Columns | None = None
    """Which columns; by default `Participant_Id` and `EmailAddress`."""
    segment: Segment | None = None
    """Which of them; null for all."""


class EventsDataset(Shape):
    """One row an event."""

    kind: Literal["events"]
    """Which dataset."""
    events: Annotated[list[EventName], Field(min_length=1, max_length=MAX_EVENTS)]
    """Events of which names."""
    params: Annotated[list[ParamName], Field(max_length=MAX_PARAMS)] | None = None
    """Which parameters are columns."""
    where: Annotated[list[Where], Field(max_length=MAX_WHERE)] | None = None
    """What must all hold."""
    range: Range | None = None
    """When; at any time by default."""
    segment: Segment | None = None
    """Whose events; null for all participants that are not purged."""


class RawFilter(Shape):
    """A condition on a parameter of an event."""

    key: ParamName
    """The parameter's name."""
    operator: Operator
    """How it is compared."""
    values: Values | None = None
    """Any of these."""


class RawEvent(Shape):
    """The events of one name."""

    event_name: EventName
    """The event's name."""
    params: Annotated[list[ParamName], Field(max_length=MAX_PARAMS)] | None = None
    """Which parameters are columns, `e_<param>`."""
    filters: Annotated[list[RawFilter], Field(max_length=MAX_WHERE)] | None = None
    """What must all hold."""


class RawEvents(Shape):
    """Which events."""

    start: Instant
    """From then on."""
    end: Instant
    """Until before then."""
    wanted: Annotated[list[RawEvent], Field(min_length=1, max_length=MAX_WANTED)]
    """Events of which names."""


class RawDataset(Shape):
    """Attributes, events or both, in the columns of the older interface."""

    kind: Literal["raw"]
    """Which dataset."""
    segment: Segment | None = None
    """Whose; null for all participants that are not purged."""
    attributes: Annotated[list[Text], Field(max_length=MAX_ATTRIBUTES)] | None = None
    """Which attributes are columns, `a_<attribute>`; `*` for all."""
    events: RawEvents | None = None
    """Which events are rows."""


class ConversationParticipantsDataset(Shape):
    """One row a pid of a conversation."""

    kind: Literal["conversation_participants"]
    """Which dataset."""
    conversation_id: Text
    """Which conversation."""
    include: Include | None = None
    """`participated` (the default) or every generated link, `assigned`."""


class ConversationLinksDataset(Shape):
    """A conversation's unique links: of runs that `POST /v1/conversations/{conversation_id}/links` has started."""

    kind: Literal["conversation_links"]
    """Which dataset."""
    conversation_id: str
    """Which conversation."""
    count: int
    """How many links."""
    base_url: str
    """What they begin with."""


class InsiderDataset(RawDataset):
    """What was asked for in Insider's shape."""

    naming: Literal["insider"]
    """Columns are named as Insider names them."""
    bare: list[str] = []
    """The attributes whose columns are `a_<attribute>`, where those of others are `a_c_<attribute>`."""


Dataset = Annotated[
    ParticipantsDataset | UsersDataset | EventsDataset | RawDataset | ConversationParticipantsDataset,
    Field(discriminator="kind"),
]
# Runs were made of some that no export is saved with.
RunDataset = (
    ParticipantsDataset | UsersDataset | EventsDataset | InsiderDataset | RawDataset
    | ConversationParticipantsDataset | ConversationLinksDataset
)  # fmt: skip

DATASET: TypeAdapter[Any] = TypeAdapter(Dataset)
SEGMENT: TypeAdapter[Any] = TypeAdapter(Segment)
