"""The table: items put, changed and queried under conditions."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from boto3.dynamodb.conditions import Attr, ConditionBase, ConditionExpressionBuilder, Key
from botocore.exceptions import ClientError

from chalicelib.aws.retries import Busy, jittered, repeated

__all__ = ["Attr", "ConditionBase", "Item", "Store", "Write"]

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Write:
    """One action of a transaction: a whole item put, an update, or a delete, under a condition."""

    put: Item | None = None
    update: tuple[str, str] | None = None
    set: Mapping[str, Any] | None = None
    remove: Sequence[str] = ()
    delete: tuple[str, str] | None = None
    when: ConditionBase | None = None


class Store:
    """The DynamoDB table: items under a partition key `pk` and a sort key `sk`; every read is consistent.

    A write whose condition does not hold is an ordinary answer (False or None), not an error. One that meets another's
    transaction says nothing of its condition: it is tried again, and Busy when that lasts. Numbers are whole.
    """

    def __init__(self, client: Any, table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.client = client
        self.table = table
        self.sleep = sleep

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, or None."""
        found = self.client.get_item(TableName=self.table, Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return _plain(found) if found else None

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Item | None]:
        """The items in the order of their keys; None where there is none."""
        found: dict[tuple[str, str], Item] = {}
        for start in range(0, len(keys), 100):
            for item in self._batch([{"pk": pk, "sk": sk} for pk, sk in dict.fromkeys(keys[start : start + 100])]):
                found[item["pk"], item["sk"]] = _plain(item)
        return [found.get(key) for key in keys]

    def _batch(self, wanted: list[dict[str, str]]) -> Iterator[Item]:
        """The items of up to 100 keys; those that DynamoDB leaves for later are asked for after a pause."""
        pauses = jittered()
        while True:
            answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": wanted, "ConsistentRead": True}})
            found = answer["Responses"].get(self.table, [])
            yield from found
            wanted = answer.get("UnprocessedKeys", {}).get(self.table, {}).get("Keys", [])
            if not wanted:
                return
            if found:
                pauses = jittered()
            pause = next(pauses, None)
            if pause is None:
                raise Busy("UnprocessedKeys")
            self.sleep(pause)

    def put(self, item: Item, when: ConditionBase | None = None) -> bool:
        """Write the whole item; False when the condition did not hold."""
        return self._attempt(self.client.put_item, TableName=self.table, Item=item, **_condition(when)) is not None

    def put_new(self, item: Item) -> bool:
        """Write the item unless there is one under its key; False when there is."""
        return self.put(item, when=Attr("pk").not_exists())

    def update(
        self,
        key: tuple[str, str],
        set: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        when: ConditionBase | None = None,
    ) -> Item | None:
        """Set and remove attributes, making the item if there is none; the new item, or None when the condition
        did not hold."""
        answer = self._attempt(
            self.client.update_item,
            TableName=self.table,
            Key={"pk": key[0], "sk": key[1]},
            ReturnValues="ALL_NEW",
            **_update(set or {}, remove, when),
        )
        return _plain(answer["Attributes"]) if answer is not None else None

    def add_to_set(self, key: tuple[str, str], name: str, member: str, when: ConditionBase | None = None) -> bool:
        """Add a member to a set of texts (again changes nothing); False when the condition did not hold."""
        return self._set("ADD", key, name, member, when)

    def take_from_set(self, key: tuple[str, str], name: str, member: str) -> bool:
        """Take a member out of a set of texts; taking out what is not there changes nothing."""
        return self._set("DELETE", key, name, member, None)

    def delete(self, pk: str, sk: str, when: ConditionBase | None = None) -> bool:
        """Delete the item (one that is not there, too); False when the condition did not hold."""
        key = {"pk": pk, "sk": sk}
        return self._attempt(self.client.delete_item, TableName=self.table, Key=key, **_condition(when)) is not None

    def query(
        self, pk: str, prefix: str = "", *, after: str | None = None, limit: int | None = None, newest: bool = False
    ) -> list[Item]:
        """The items of a partition whose sort key has the prefix, in its order or newest first, past `after`."""
        condition: ConditionBase = Key("pk").eq(pk)
        if prefix:
            condition = condition & Key("sk").begins_with(prefix)
        arguments: dict[str, Any] = {"KeyConditionExpression": condition, "ScanIndexForward": not newest}
        if after is not None:
            arguments["ExclusiveStartKey"] = {"pk": pk, "sk": after}
        return self._pages(arguments, limit, ConsistentRead=True)

    def due(self, kind: str, until: str, limit: int) -> list[Item]:
        """The items of a kind that are due at or before `until` (an instant's text), the longest due first."""
        condition = Key("due_kind").eq(kind) & Key("due_at").lte(until)
        return self._pages({"KeyConditionExpression": condition, "IndexName": "due"}, limit)

    def transact(self, writes: Sequence[Write]) -> list[bool] | None:
        """Do all writes or none: None when done, else for each whether its own condition held."""
        actions = [self._action(write) for write in writes]
        try:
            # Another attempt is another request to DynamoDB: with a token of its own, which botocore makes.
            repeated(lambda: self.client.transact_write_items(TransactItems=actions), self.sleep)
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            reasons = [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
            if not set(reasons) <= {"None", "ConditionalCheckFailed"}:
                raise
            return [reason == "None" for reason in reasons]
        return None

    def _pages(self, arguments: dict[str, Any], limit: int | None, **more: Any) -> list[Item]:
        items: list[Item] = []
        while True:
            if limit is not None:
                arguments["Limit"] = limit - len(items)
            answer = self.client.query(TableName=self.table, **arguments, **more)
            items += [_plain(item) for item in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            if last is None or (limit is not None and len(items) >= limit):
                return items
            arguments["ExclusiveStartKey"] = last

    def _action(self, write: Write) -> dict[str, Any]:
        condition = _condition(write.when)
        if write.put is not None:
            return {"Put": {"TableName": self.table, "Item": write.put, **condition}}
        if write.delete is not None:
            pk, sk = write.delete
            return {"Delete": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **condition}}
        assert write.update is not None  # noqa: S101 (one of the three is what a Write is)
        pk, sk = write.update
        if not write.set and not write.remove:
            return {"ConditionCheck": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **condition}}
        changes = _update(write.set or {}, write.remove, write.when)
        return {"Update": {"TableName": self.table, "Key": {"pk": pk, "sk": sk}, **changes}}

    def _set(self, verb: str, key: tuple[str, str], name: str, member: str, when: ConditionBase | None) -> bool:
        arguments: dict[str, Any] = {
            "UpdateExpression": f"{verb} #set :member",
            "ExpressionAttributeNames": {"#set": name},
            "ExpressionAttributeValues": {":member": {member}},
        }
        _merge(arguments, _condition(when))
        place = {"pk": key[0], "sk": key[1]}
        return self._attempt(self.client.update_item, TableName=self.table, Key=place, **arguments) is not None

    def _attempt(self, operation: Any, **arguments: Any) -> Any | None:
        try:
            return repeated(lambda: operation(**arguments), self.sleep)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise


def _update(set_: Mapping[str, Any], remove: Sequence[str], when: ConditionBase | None) -> dict[str, Any]:
    names = {f"#u{n}": name for n, name in enumerate([*set_, *remove])}
    values = {f":u{n}": value for n, value in enumerate(set_.values())}
    sets = ", ".join(f"#u{n} = :u{n}" for n in range(len(set_)))
    removes = ", ".join(f"#u{n}" for n in range(len(set_), len(names)))
    expression = " ".join(
        part for part in (f"SET {sets}" if sets else "", f"REMOVE {removes}" if removes else "") if part
    )
    arguments: dict[str, Any] = {"UpdateExpression": expression, "ExpressionAttributeNames": names}
    if values:
        arguments["ExpressionAttributeValues"] = values
    return _merge(arguments, _condition(when))


def _condition(when: ConditionBase | None) -> dict[str, Any]:
    # boto3 writes conditions out by itself, but not those of the actions of a transaction.
    if when is None:
        return {}
    built = ConditionExpressionBuilder().build_expression(when)
    arguments: dict[str, Any] = {"ConditionExpression": built.condition_expression}
    if built.attribute_name_placeholders:
        arguments["ExpressionAttributeNames"] = built.attribute_name_placeholders
    if built.attribute_value_placeholders:
        arguments["ExpressionAttributeValues"] = built.attribute_value_placeholders
    return arguments


def _merge(arguments: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, value in more.items():
        arguments[name] = {**arguments[name], **value} if name in arguments else value
    return arguments


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return bytes(value) if hasattr(value, "value") else value
