// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {EmptyField, PaymentFailed, ZeroAddress} from "./Errors.sol";
import {CampaignStatus, CampaignTerms, ICampaign} from "./interfaces/ICampaign.sol";
import {ICampaignFactory} from "./interfaces/ICampaignFactory.sol";
import {IIssuerRegistry} from "./interfaces/IIssuerRegistry.sol";

/// One campaign: takes investments until its deadline, pays out or pays back. Used through clones.
///
/// The money. What is invested in the native currency lies here. When 75 % of the goal is reached everything
/// held is released: the fee to the factory, the rest to the beneficiary. Investing stays open until the
/// deadline, and what came in later is released by `finalize()`. Investments made elsewhere ("fiat") are recorded by
/// an operator and count towards the goal, but move nothing here: `FiatPayoutDue` and `RefundOwed` say what has
/// to be settled outside, `RefundSettled` that it was. Every amount in `FundsReleased` and every `paid` moved,
/// save a payout the beneficiary refused: `PayoutDeferred` says so, and it waits for `claimPayout`.
contract CampaignImplementation is Initializable, Pausable, ReentrancyGuard, ICampaign {
    bytes32 public constant ADMIN_ROLE = keccak256("ADMIN_ROLE");
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR_ROLE");
    /// The method of every investment in the native currency; no recorded one may use it.
    bytes32 public constant NATIVE_METHOD = "crypto";
    uint256 public constant THRESHOLD_PERCENT = 75;
    /// Bounds the loop of a refund.
    uint256 public constant MAX_METHODS_PER_INVESTOR = 8;
    uint256 private constant BPS = 10_000;
    /// A beneficiary can not spend an investor's gas: beyond this the payout is deferred.
    uint256 private constant PAYOUT_GAS = 100_000;

    struct Position {
        uint256 nativeAmount;
        uint256 fiatAmount;
        bool refunded;
    }

    event CampaignTermsSet(
        string description,
        string documentHash,
        uint256 successThreshold,
        uint16 platformFeeBps
    );
    event InvestmentMade(
        bytes32 indexed investmentId,
        address indexed investor,
        uint256 amount,
        uint256 totalRaised,
        bytes32 methodCode,
        bytes32 paymentRef
    );
    event CampaignStatusChanged(CampaignStatus from, CampaignStatus to);
    event CampaignCompleted(bool successful, uint256 totalRaised);
    event CampaignCancelled(string reason);
    event FundsReleased(uint256 grossRaised, uint256 creatorAmount, uint256 platformFee);
    event FiatPayoutDue(uint256 grossRaised, uint256 creatorAmount, uint256 platformFee);
    event PayoutDeferred(address indexed beneficiary, uint256 amount);
    event PayoutClaimed(address indexed beneficiary, address indexed to, uint256 amount);
    event RefundIssued(address indexed investor, uint256 principal, uint256 paid);
    event RefundOwed(address indexed investor, uint256 amount, bytes32 methodCode);
    event RefundSettled(address indexed investor, uint256 amount, bytes32 methodCode, bytes32 paymentRef);

    error WrongStatus(CampaignStatus status);
    error DeadlinePassed(uint256 deadline, uint256 timestamp);
    error DeadlineNotReached(uint256 deadline, uint256 timestamp);
    error BeneficiaryCannotInvest(address beneficiary);
    error NotBeneficiary(address caller, address beneficiary);
    error ReservedMethod(bytes32 methodCode);
    error TooManyMethods(address investor, uint256 maxMethods);
    error NothingInvested(address investor);
    error AlreadyRefunded(address investor);
    error NothingOwed(address account);

    ICampaignFactory public factory;
    IIssuerRegistry public registry;
    address public creator;
    address public beneficiary;
    CampaignStatus public status;
    uint16 public platformFeeBps;
    uint256 public fundingGoal;
    uint256 public successThreshold;
    uint256 public deadline;
    string public campaignId;
    string public companyName;

    uint256 public nativeRaised;
    uint256 public fiatRaised;
    uint256 public nativeReleased;
    uint256 public fiatReleased;
    uint256 public refundedPrincipal;
    uint256 public deferredPayout;
    uint256 public investmentCount;
    mapping(address investor => Position) public positions;
    mapping(address investor => mapping(bytes32 methodCode => uint256)) public fiatBy;
    mapping(address investor => mapping(bytes32 methodCode => uint256)) public refundOwedTo;
    mapping(address investor => bytes32[]) private _methods;

    modifier onlyRole(bytes32 role) {
        if (!IAccessControl(address(factory)).hasRole(role, msg.sender)) {
            revert IAccessControl.AccessControlUnauthorizedAccount(msg.sender, role);
        }
        _;
    }

    /// The implementation itself is nobody's campaign.
    constructor() {
        _disableInitializers();
    }

    receive() external payable {
        investCrypto();
    }

    /// Called by the factory in the transaction that makes the clone.
    function initialize(CampaignTerms calldata terms) external initializer {
        if (terms.beneficiary == address(0)) revert ZeroAddress("beneficiary");
        factory = ICampaignFactory(msg.sender);
        registry = IIssuerRegistry(terms.registry);
        creator = terms.creator;
        beneficiary = terms.beneficiary;
        platformFeeBps = terms.platformFeeBps;
        fundingGoal = terms.fundingGoal;
        // Rounded up, so that reaching it never means less than 75 %.
        successThreshold = (terms.fundingGoal * THRESHOLD_PERCENT + 99) / 100;
        deadline = terms.deadline;
        campaignId = terms.campaignId;
        companyName = terms.companyName;
        emit CampaignTermsSet(terms.description, terms.documentHash, successThreshold, terms.platformFeeBps);
        _move(CampaignStatus.Active);
    }

    /// Invest the native currency sent along.
    function investCrypto() public payable nonReentrant whenNotPaused {
        _requireInvestable(msg.sender, msg.value);
        positions[msg.sender].nativeAmount += msg.value;
        nativeRaised += msg.value;
        _recorded(msg.sender, msg.value, NATIVE_METHOD, 0);
    }

    /// Record a payment made elsewhere. `paymentRef` names that payment, and works once on all campaigns.
    function recordInvestment(
        address investor,
        uint256 amount,
        bytes32 methodCode,
        bytes32 paymentRef
    ) external nonReentrant whenNotPaused onlyRole(OPERATOR_ROLE) {
        if (investor == address(0)) revert ZeroAddress("investor");
        if (methodCode == 0) revert EmptyField("methodCode");
        if (methodCode == NATIVE_METHOD) revert ReservedMethod(methodCode);
        if (paymentRef == 0) revert EmptyField("paymentRef");
        _requireInvestable(investor, amount);
        factory.claimPaymentRef(paymentRef);

        if (fiatBy[investor][methodCode] == 0) {
            if (_methods[investor].length == MAX_METHODS_PER_INVESTOR) {
                revert TooManyMethods(investor, MAX_METHODS_PER_INVESTOR);
            }
            _methods[investor].push(methodCode);
        }
        fiatBy[investor][methodCode] += amount;
        positions[investor].fiatAmount += amount;
        fiatRaised += amount;
        _recorded(investor, amount, methodCode, paymentRef);
    }

    /// Ends the campaign after its deadline. Anyone may: nobody can hold the money back by not calling.
    function finalize() external nonReentrant {
        if (status != CampaignStatus.Active && status != CampaignStatus.Funded) revert WrongStatus(status);
        if (block.timestamp <= deadline) revert DeadlineNotReached(deadline, block.timestamp);
        if (status == CampaignStatus.Funded) {
            _complete(CampaignStatus.Successful);
            _release();
        } else {
            _complete(CampaignStatus.Failed);
        }
    }

    /// Ends a campaign that has not released money yet; investors are refunded.
    function cancel(string calldata reason) external nonReentrant onlyRole(ADMIN_ROLE) {
        if (status != CampaignStatus.Active) revert WrongStatus(status);
        if (bytes(reason).length == 0) revert EmptyField("reason");
        emit CampaignCancelled(reason);
        _complete(CampaignStatus.Cancelled);
    }

    /// An investor takes its money back.
    function requestRefund() external nonReentrant {
        _refund(msg.sender);
    }

    /// Sends an investor its own money back. Anyone may, since it can go nowhere else.
    function refundFor(address investor) external nonReentrant {
        _refund(investor);
    }

    /// An operator states that what was owed to an investor has been paid back elsewhere.
    function settleRefund(
        address investor,
        bytes32 methodCode,
        bytes32 paymentRef
    ) external onlyRole(OPERATOR_ROLE) {
        if (paymentRef == 0) revert EmptyField("paymentRef");
        uint256 amount = refundOwedTo[investor][methodCode];
        if (amount == 0) revert NothingOwed(investor);
        delete refundOwedTo[investor][methodCode];
        factory.claimPaymentRef(paymentRef);
        emit RefundSettled(investor, amount, methodCode, paymentRef);
    }

    /// The beneficiary takes a payout it could not receive, to an address of its choice.
    function claimPayout(address payable to) external nonReentrant {
        if (msg.sender != beneficiary) revert NotBeneficiary(msg.sender, beneficiary);
        if (to == address(0)) revert ZeroAddress("to");
        uint256 amount = deferredPayout;
        if (amount == 0) revert NothingOwed(beneficiary);
        deferredPayout = 0;
        emit PayoutClaimed(beneficiary, to, amount);
        (bool paid, ) = to.call{value: amount}("");
        if (!paid) revert PaymentFailed(to, amount);
    }

    /// Stops investing; ending the campaign and refunds stay possible.
    function pause() external onlyRole(ADMIN_ROLE) {
        _pause();
    }

    function unpause() external onlyRole(ADMIN_ROLE) {
        _unpause();
    }

    function totalRaised() public view returns (uint256) {
        return nativeRaised + fiatRaised;
    }

    function investedBy(address investor) public view returns (uint256) {
        Position storage position = positions[investor];
        return position.nativeAmount + position.fiatAmount;
    }

    function methodsOf(address investor) external view returns (bytes32[] memory) {
        return _methods[investor];
    }

    function _requireInvestable(address investor, uint256 amount) private view {
        if (status != CampaignStatus.Active && status != CampaignStatus.Funded) revert WrongStatus(status);
        if (block.timestamp > deadline) revert DeadlinePassed(deadline, block.timestamp);
        if (amount == 0) revert EmptyField("amount");
        if (investor == beneficiary) revert BeneficiaryCannotInvest(investor);
    }

    function _recorded(address investor, uint256 amount, bytes32 methodCode, bytes32 paymentRef) private {
        bytes32 id = keccak256(abi.encode(block.chainid, address(this), ++investmentCount));
        emit InvestmentMade(id, investor, amount, totalRaised(), methodCode, paymentRef);
        if (status == CampaignStatus.Active && totalRaised() >= successThreshold) {
            _move(CampaignStatus.Funded);
            _release();
        }
    }

    /// Pays out all that came in since the last release.
    function _release() private {
        uint256 fiat = fiatRaised - fiatReleased;
        uint256 gross = nativeRaised - nativeReleased;
        fiatReleased = fiatRaised;
        nativeReleased = nativeRaised;
        if (fiat > 0) {
            uint256 fiatFee = (fiat * platformFeeBps) / BPS;
            emit FiatPayoutDue(fiat, fiat - fiatFee, fiatFee);
        }
        if (gross > 0) {
            uint256 fee = (gross * platformFeeBps) / BPS;
            emit FundsReleased(gross, gross - fee, fee);
            if (fee > 0) factory.collectFee{value: fee}();
            _payBeneficiary(gross - fee);
        }
    }

    function _payBeneficiary(uint256 amount) private {
        (bool paid, ) = beneficiary.call{value: amount, gas: PAYOUT_GAS}("");
        if (paid) return;
        deferredPayout += amount;
        emit PayoutDeferred(beneficiary, amount);
    }

    /// Gives back the lock, unless a deactivation or registrar already did.
    function _complete(CampaignStatus outcome) private {
        bool successful = outcome == CampaignStatus.Successful;
        _move(outcome);
        if (registry.activeCampaign(beneficiary) == address(this)) registry.releaseExclusivityLock(beneficiary);
        emit CampaignCompleted(successful, totalRaised());
        factory.reportCompletion(totalRaised(), successful);
    }

    function _refund(address investor) private {
        if (status == CampaignStatus.Failed || status == CampaignStatus.Cancelled) {
            if (investedBy(investor) == 0) revert NothingInvested(investor);
            _move(CampaignStatus.Refunding);
        } else if (status != CampaignStatus.Refunding && status != CampaignStatus.Refunded) {
            revert WrongStatus(status);
        }
        Position storage position = positions[investor];
        uint256 principal = investedBy(investor);
        uint256 paid = position.nativeAmount;
        if (principal == 0) revert NothingInvested(investor);
        if (position.refunded) revert AlreadyRefunded(investor);

        position.refunded = true;
        refundedPrincipal += principal;
        emit RefundIssued(investor, principal, paid);
        _oweFiat(investor);
        if (refundedPrincipal == totalRaised()) _move(CampaignStatus.Refunded);
        if (paid == 0) return;
        (bool sent, ) = investor.call{value: paid}("");
        if (!sent) revert PaymentFailed(investor, paid);
    }

    function _oweFiat(address investor) private {
        bytes32[] storage methods = _methods[investor];
        for (uint256 i = 0; i < methods.length; i++) {
            uint256 amount = fiatBy[investor][methods[i]];
            refundOwedTo[investor][methods[i]] = amount;
            emit RefundOwed(investor, amount, methods[i]);
        }
    }

    function _move(CampaignStatus to) private {
        emit CampaignStatusChanged(status, to);
        status = to;
    }
}
