"""Events bind the chain's names and types to ours."""

from db.declare import Address, Bool, Bytes32, Contract, Event, Hash, Json, Text, Uint
from db.declare.evm.signatures import signature
from db.declare.fields import FieldKind
from db.declare.names import camel_case, domain_of, snake_case
from db.registry import Registry, event_fingerprint
from helpers.ledger import abi_event

STRUCT = {
    "type": "event",
    "name": "Listed",
    "anonymous": False,
    "inputs": [
        {
            "name": "item",
            "type": "tuple[]",
            "indexed": False,
            "components": [
                {"name": "id", "type": "uint256"},
                {"name": "tag", "type": "tuple", "components": [{"type": "bytes4"}]},
            ],
        }
    ],
}
market = Contract(
    "Market",
    abi=[
        abi_event(
            "CampaignMade",
            campaignAddress="indexed_address",
            fundingGoal="uint256",
            companyName="indexed_string",
            methodCode="bytes32",
            vcHash="string",
            open="bool",
        ),
        abi_event("Moved", sender="address", recipient="address", kind="uint8"),
        STRUCT,
    ],
)


class CampaignMade(Event):
    """A campaign began."""

    source = market
    campaign = Address(param="campaignAddress")
    factory = Address(emitter=True)
    funding_goal = Uint()
    company_name = Hash()
    method_code = Bytes32()
    vc_hash = Text()
    open = Bool()


class Moved(Event):
    """Something moved."""

    source = market
    sender = Address()
    recipient = Address()


class Gift(Event):
    """Something moved, and nothing was asked for it."""

    source = market
    name = "Moved"
    where = {"kind": 3}  # noqa: RUF012
    sender = Address()


def test_names_of_the_chain_become_ours():
    params = {n: f.param for n, f in CampaignMade.spec.fields.items()}

    assert {
        "campaign": "campaignAddress",
        "factory": None,
        "funding_goal": "fundingGoal",
        "company_name": "companyName",
        "method_code": "methodCode",
        "vc_hash": "vcHash",
        "open": "open",
    } == params


def test_snake_and_camel_case():
    assert "campaign_created" == snake_case("CampaignCreated")
    assert "nft_minted" == snake_case("NFTMinted")
    assert "erc20_transfer" == snake_case("ERC20Transfer")
    assert "fundingGoal" == camel_case("funding_goal")
    assert "amount" == camel_case("amount")


def test_the_domain_is_the_folder_or_the_module():
    assert "crowdfunding" == domain_of("db.domains.crowdfunding.events")
    assert "somewhere" == domain_of("somewhere.events") == domain_of("somewhere")
    assert "events" == domain_of("events")


def test_the_signature_writes_structs_out():
    assert "Listed((uint256,(bytes4))[])" == signature(STRUCT)

    class Listed(Event):
        """A thing was listed."""

        source = market
        item = Json()

    assert FieldKind.JSON is Listed.spec.fields["item"].kind


def test_the_emitter_is_a_value_like_any_other():
    assert CampaignMade.spec.fields["factory"].emitter
    assert "test_events.CampaignMade.factory" == CampaignMade.factory.describe()


def test_every_event_has_time_place_and_transaction():
    for name in ("block_time", "height", "position", "transaction"):
        assert name == getattr(CampaignMade, name).field.name


def test_only_position_and_transaction_may_be_keys():
    view = CampaignMade.keyed(goal="funding_goal")

    assert "position" == view.field_for_key("position").name
    assert "transaction" == view.field_for_key("transaction").name
    assert view.field_for_key("height") is None
    assert "funding_goal" == view.field_for_key("goal").name
    assert "campaign" == view.field_for_key("campaign").name


def test_a_key_may_have_the_name_of_another_field():
    assert "sender" == Moved.keyed(recipient="sender").field_for_key("recipient").name


def test_views_are_equal_when_they_select_the_same_facts():
    one = Moved.keyed(holder="sender").only(Moved.sender != bytes(20))
    same = Moved.keyed(holder="sender").only(Moved.sender != bytes(20))
    other = Moved.keyed(holder="recipient").only(Moved.sender != bytes(20))

    assert one.identity() == same.identity()
    assert one.identity() != other.identity()
    assert one.identity() != Moved.keyed(holder="sender").identity()


def test_conditions_add_up():
    view = Moved.only(Moved.sender != bytes(20)).only(Moved.recipient != bytes(20))

    sender, nobody = b"\1" * 20, bytes(20)
    for recipient, expected in ((sender, True), (nobody, False)):
        values = {"sender": sender, "recipient": recipient}
        found = view.condition.evaluate(lambda leaf, v=values: v[leaf.field.name])
        assert expected is found


def test_where_makes_one_event_of_the_chain_into_several_of_ours():
    assert {"kind": 3} == Gift.spec.where
    assert Gift.spec.schema is Moved.spec.schema
    assert event_fingerprint(Gift) != event_fingerprint(Moved)


def test_a_fingerprint_changes_with_what_is_stored_and_with_nothing_else():
    def declared(doc, **body):
        return type(Event)(
            "Moved",
            (Event,),
            {"source": market, "__doc__": doc, "__module__": __name__, **body},
        )

    one = declared("One.", sender=Address())
    same = declared("Other words.", sender=Address())
    more = declared("One.", sender=Address(), recipient=Address())
    renamed = declared("One.", sender=Address(param="recipient"))

    assert event_fingerprint(one) == event_fingerprint(same)
    prints = {event_fingerprint(each) for each in (one, more, renamed)}
    assert 3 == len(prints)


def test_a_contract_made_by_a_factory_knows_the_event_that_announces_it():
    children = Contract("Child", created_by=CampaignMade.campaign, abi=[STRUCT])

    (maker,) = children.makers.values()
    assert CampaignMade is maker.view.event
    assert list(children.makers) == [CampaignMade.campaign.describe()]
    assert market.makers == {}


def test_a_registry_knows_contracts_and_their_events():
    registry = Registry.of([Moved, CampaignMade, Gift])

    assert {"Market": market} == registry.contracts
    assert [CampaignMade, Gift, Moved] == registry.events_of("Market")
    assert [] == registry.events_of("Other")
