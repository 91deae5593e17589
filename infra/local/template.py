"""What the intrinsic functions of a CloudFormation template come to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.gateway import ACCOUNT_ID, REGION

NO_VALUE = object()

_PSEUDO: Mapping[str, Any] = {
    "AWS::AccountId": ACCOUNT_ID,
    "AWS::NoValue": NO_VALUE,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}


@dataclass(slots=True)
class Scope:
    """What a template's names stand for: `ids` by Ref, `attributes` by GetAtt ("Table.Arn"), parameters' values."""

    template: Mapping[str, Any]
    parameters: Mapping[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """The environment variables that the template gives to every function."""
        given = self.template.get("Globals", {}).get("Function", {}).get("Environment", {})
        return {name: str(value) for name, value in self.resolved(given.get("Variables", {})).items()}

    def resolved(self, value: Any) -> Any:
        """The value with every intrinsic function replaced by what it comes to; KeyError for an unknown name."""
        if isinstance(value, list):
            items = (self.resolved(item) for item in value)
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, given)] = value.items()
            if name == "Ref":
                return self._ref(given)
            if name.startswith("Fn::"):
                return self._function(name, given)
        members = ((name, self.resolved(member)) for name, member in value.items())
        return {name: member for name, member in members if member is not NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        declared = self.template.get("Parameters", {})
        if name in declared:
            return declared[name]["Default"]
        return self.ids[name]

    def _function(self, name: str, given: Any) -> Any:
        match name:
            case "Fn::GetAtt":
                return self.attributes[".".join(given)]
            case "Fn::Sub":
                return self._substituted(given)
            case "Fn::Join":
                return given[0].join(self.resolved(given[1]))
            case "Fn::If":
                return self.resolved(given[1] if self._holds({"Condition": given[0]}) else given[2])
            case "Fn::Select":
                return self.resolved(given[1])[int(given[0])]
            case "Fn::Split":
                return self.resolved(given[1]).split(given[0])
            case _:
                raise KeyError(name)

    def _substituted(self, given: Any) -> str:
        text, names = (given, {}) if isinstance(given, str) else (given[0], self.resolved(given[1]))

        def value_of(found: re.Match[str]) -> str:
            name = found.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in names:
                return str(names[name])
            return self.attributes[name] if "." in name else str(self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value_of, text)

    def _holds(self, condition: Any) -> bool:
        [(name, given)] = condition.items()
        match name:
            case "Condition":
                return self._holds(self.template["Conditions"][given])
            case "Fn::Equals":
                first, second = self.resolved(given)
                return bool(first == second)
            case "Fn::Not":
                return not self._holds(given[0])
            case "Fn::And":
                return all(self._holds(one) for one in given)
            case "Fn::Or":
                return any(self._holds(one) for one in given)
            case _:
                raise KeyError(name)
