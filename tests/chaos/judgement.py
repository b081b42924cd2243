"""All that is known at the end, and the judgement over it.

Invariant: judging asks nobody any more, so that evidence can be tampered with and judged again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.check_shown import Shown, check_list, check_own, check_roll_ups, check_totals
from tests.chaos.check_writes import check_writes
from tests.chaos.evidence import Head
from tests.chaos.findings import Findings
from tests.chaos.history import check_history
from tests.chaos.journal import Write
from tests.chaos.load import Prepared
from tests.chaos.log import Log, check_orders, check_reading
from tests.chaos.orders import Order
from tests.chaos.subscriber import Seen


@dataclass
class Evidence:
    writes: list[Write]
    own: list[dict[str, object]]
    orders: list[Order]
    unknown: list[str]
    prepared: Prepared
    head: Head
    log: Log
    shown: Shown
    histories: dict[str, list[dict[str, object]]]
    count: int
    models: list[dict[str, object]]
    totals: dict[str, tuple[int, int]]
    seen: dict[str, Seen] = field(default_factory=dict)  # by subscriber

    def judge(self) -> Findings:
        """The ledgers against everything else."""
        findings = Findings()
        findings.add_all(self.log.findings)
        known = self.prepared.request_ids
        findings.add_all(check_writes(self.writes, self.log, known, self.head.epoch))
        sent = {str(order["orderId"]): order for order in self.orders}
        findings.add_all(check_orders(self.log, sent, self.unknown))
        findings.add_all(check_own(self.own, self.shown))
        findings.add_all(check_roll_ups(self.orders, self.shown))
        findings.add_all(check_list(self.models, self.count, self.shown))
        findings.add_all(check_totals(self.orders, self.totals))
        self._judge_histories(findings)
        for name, seen in self.seen.items():
            findings.add_all(seen.findings)
            findings.add_all(check_reading(seen.identities, self.log, name))
        return findings

    def _judge_histories(self, findings: Findings) -> None:
        by_customer: dict[str, list[Write]] = {}
        for write in self.writes:
            by_customer.setdefault(write.customer_id, []).append(write)
        for customer_id, events in self.histories.items():
            now = self.shown[customer_id]
            assert now is not None
            writes = by_customer.get(customer_id, [])
            findings.add_all(check_history(events, writes, now))
