"""The bodies of answers that are not a domain document of their own; they only document.

Invariant: the queries build the list's JSON themselves, from the same items.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from service.documents import CustomerItem, OrderItem


class CustomerList(BaseModel):
    """One page of the customer list."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    count: int = Field(description="How many customers match in all, exactly.")
    page: int = Field(description="Which page this is, also where a cursor led to it.")
    display: int = Field(description="Customers on a page, as asked for.")
    next_cursor: str | None = Field(description="For the next page; null on the last one.")
    models: tuple[CustomerItem, ...] = Field(description="The page, in the order asked for.")


class OrderList(BaseModel):
    """One page of a customer's orders."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    count: int = Field(description="How many orders the customer has in all.")
    next_cursor: str | None = Field(description="For the next page; null on the last one.")
    models: tuple[OrderItem, ...] = Field(description="The page, the latest order first.")
