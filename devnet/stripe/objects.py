"""Objects as the API shows them when they are new: every field that is always there."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def session(
    id_: str, *, created: int, livemode: bool, amount: int, currency: str,
    metadata: dict[str, str], reference: str | None, success_url: str | None,
    expires_at: int, url: str,
) -> Object:  # fmt: skip
    """Return an open checkout session in payment mode."""
    return {
        "id": id_, "object": "checkout.session", "created": created,
        "livemode": livemode, "mode": "payment", "status": "open",
        "payment_status": "unpaid", "payment_intent": None,
        "amount_subtotal": amount, "amount_total": amount, "currency": currency,
        "metadata": metadata, "client_reference_id": reference,
        "success_url": success_url, "cancel_url": None, "expires_at": expires_at,
        "url": url, "ui_mode": "hosted_page", "customer": None,
        "customer_details": None, "payment_method_types": ["card"],
        "automatic_tax": {
            "enabled": False, "liability": None, "provider": None, "status": None
        },
        "custom_fields": [], "shipping_options": [],
        "custom_text": {
            "after_submit": None, "shipping_address": None, "submit": None,
            "terms_of_service_acceptance": None,
        },
        "total_details": {
            "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0
        },
    }  # fmt: skip


def intent(
    id_: str, *, created: int, livemode: bool, amount: int, currency: str,
    metadata: dict[str, str], capture: str, method: str,
) -> Object:  # fmt: skip
    """Return a payment intent of which nothing was paid yet."""
    return {
        "id": id_, "object": "payment_intent", "created": created,
        "livemode": livemode, "amount": amount, "amount_capturable": 0,
        "amount_received": 0, "currency": currency, "metadata": metadata,
        "capture_method": capture, "confirmation_method": "automatic",
        "latest_charge": None, "status": "requires_payment_method",
        "payment_method_types": [method], "canceled_at": None,
        "cancellation_reason": None, "description": None, "customer": None,
    }  # fmt: skip


def charge(
    id_: str, *, created: int, livemode: bool, amount: int, currency: str,
    metadata: dict[str, str], intent: str | None, method: str,
) -> Object:  # fmt: skip
    """Return a charge that was tried and not captured."""
    return {
        "id": id_, "object": "charge", "created": created, "livemode": livemode,
        "amount": amount, "amount_captured": 0, "amount_refunded": 0,
        "currency": currency, "metadata": metadata, "payment_intent": intent,
        "balance_transaction": None, "captured": False, "paid": False,
        "refunded": False, "disputed": False, "status": "pending",
        "failure_code": None, "failure_message": None,
        "failure_balance_transaction": None, "description": None,
        "billing_details": {
            "address": None, "email": None, "name": None, "phone": None, "tax_id": None
        },
        "payment_method_details": {"type": method},
        "outcome": {
            "network_status": "approved_by_network", "reason": None,
            "risk_level": "normal", "seller_message": "Payment complete.",
            "type": "authorized",
        },
    }  # fmt: skip


def transaction(
    id_: str, *, created: int, available_on: int, amount: int, fee: int, currency: str,
    rate: float | None, kind: str, category: str, source: str,
) -> Object:  # fmt: skip
    """Return a balance transaction."""
    details = [{
        "amount": fee, "application": None, "currency": currency,
        "description": "Stripe processing fees", "type": "stripe_fee",
    }]  # fmt: skip
    return {
        "id": id_, "object": "balance_transaction", "created": created,
        "available_on": available_on, "amount": amount, "fee": fee,
        "net": amount - fee, "currency": currency, "exchange_rate": rate,
        "fee_details": details if fee else [], "type": kind,
        "reporting_category": category, "source": source, "status": "pending",
        "balance_type": "payments", "description": None,
    }  # fmt: skip


def refund(
    id_: str, *, created: int, amount: int, currency: str, charge: Object,
    reason: str | None, metadata: dict[str, str], status: str,
) -> Object:  # fmt: skip
    """Return a refund; whether money moved for it is for who makes it."""
    return {
        "id": id_, "object": "refund", "created": created, "amount": amount,
        "currency": currency, "charge": charge["id"],
        "payment_intent": charge["payment_intent"], "reason": reason,
        "metadata": metadata, "status": status, "balance_transaction": None,
        "failure_balance_transaction": None, "receipt_number": None,
        "destination_details": {"type": charge["payment_method_details"]["type"]},
    }  # fmt: skip


def dispute(
    id_: str, *, created: int, livemode: bool, amount: int, charge: Object,
    reason: str, status: str, due_by: int,
) -> Object:  # fmt: skip
    """Return a dispute, or an inquiry, for which no money has moved."""
    return {
        "id": id_, "object": "dispute", "created": created, "livemode": livemode,
        "amount": amount, "currency": charge["currency"], "charge": charge["id"],
        "payment_intent": charge["payment_intent"], "reason": reason,
        "status": status, "metadata": {}, "balance_transactions": [],
        "enhanced_eligibility_types": [],
        "is_charge_refundable": status.startswith("warning"),
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": due_by, "enhanced_eligibility": {}, "has_evidence": False,
            "past_due": False, "submission_count": 0,
            "submission_method": "not_submitted",
        },
    }  # fmt: skip


def warning(
    id_: str, *, created: int, livemode: bool, charge: Object, fraud_type: str
) -> Object:
    """Return an early fraud warning."""
    return {
        "id": id_, "object": "radar.early_fraud_warning", "created": created,
        "livemode": livemode, "actionable": not charge["refunded"],
        "charge": charge["id"], "payment_intent": charge["payment_intent"],
        "fraud_type": fraud_type,
    }  # fmt: skip


def payout(
    id_: str, *, created: int, livemode: bool, amount: int, currency: str,
    automatic: bool, arrival: int, destination: str,
) -> Object:  # fmt: skip
    """Return a payout on its way; a negative amount is taken from the bank."""
    return {
        "id": id_, "object": "payout", "created": created, "livemode": livemode,
        "amount": amount, "currency": currency, "automatic": automatic,
        "arrival_date": arrival, "status": "pending", "type": "bank_account",
        "method": "standard", "source_type": "card", "destination": destination,
        "balance_transaction": None, "failure_balance_transaction": None,
        "failure_code": None, "failure_message": None, "metadata": {},
        "reconciliation_status": "in_progress" if automatic else "not_applicable",
        "description": "STRIPE PAYOUT" if automatic else None,
    }  # fmt: skip


def event(
    id_: str, *, created: int, livemode: bool, kind: str, content: Object,
    version: str, account: str | None, request: str | None, key: str | None,
    pending: int,
) -> Object:  # fmt: skip
    """Return an event with a snapshot of what it is about."""
    found = {
        "id": id_, "object": "event", "created": created, "livemode": livemode,
        "type": kind, "api_version": version, "data": {"object": content},
        "pending_webhooks": pending,
        "request": {"id": request, "idempotency_key": key},
    }  # fmt: skip
    return found if account is None else {**found, "account": account}


def account(id_: str, *, currency: str, created: int) -> Object:
    """Return the account that the key is of."""
    return {
        "id": id_, "object": "account", "country": "US", "created": created,
        "default_currency": currency, "charges_enabled": True, "payouts_enabled": True,
        "details_submitted": True, "type": "standard", "email": None,
    }  # fmt: skip
