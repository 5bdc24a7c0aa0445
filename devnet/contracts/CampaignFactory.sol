// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {EmptyField, FeeTooHigh, PaymentFailed, ZeroAddress} from "./Errors.sol";
import {CampaignTerms, ICampaign} from "./interfaces/ICampaign.sol";
import {ICampaignFactory} from "./interfaces/ICampaignFactory.sol";
import {IIssuerRegistry} from "./interfaces/IIssuerRegistry.sol";

/// Makes campaigns, holds their fees, and keeps the roles that act on all of them.
///
/// Campaigns ask this contract who is an operator or administrator, so a role granted or taken here holds for
/// every campaign at once, those already made included.
contract CampaignFactory is AccessControl, ICampaignFactory {
    bytes32 public constant ADMIN_ROLE = keccak256("ADMIN_ROLE");
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR_ROLE");
    uint256 public constant MAX_FEE_BPS = 1_000;
    uint256 public constant MAX_DURATION = 365 days;
    /// Far above any sum of money, and low enough that no product in the contracts overflows.
    uint256 public constant MAX_GOAL = type(uint128).max;

    event CampaignCreated(
        address indexed campaignAddress,
        address indexed creator,
        address indexed beneficiary,
        string campaignId,
        string companyName,
        uint256 fundingGoal,
        uint256 deadline
    );
    event CampaignCompleted(
        address indexed campaignAddress,
        string campaignId,
        uint256 totalRaised,
        bool successful
    );
    event ImplementationUpdated(address newImplementation);
    event PlatformFeeUpdated(uint256 newFee);
    event FeeRecipientUpdated(address newRecipient);
    event PlatformFeesReceived(address indexed campaign, uint256 amount);
    event PlatformFeesWithdrawn(address indexed recipient, uint256 amount);

    error NotIssuerNorOperator(address caller, address beneficiary);
    error NotCampaign(address caller);
    error CampaignIdExists(string campaignId, address campaign);
    error ImplementationNotSet();
    error NotAContract(address implementation);
    error GoalOutOfRange(uint256 fundingGoal, uint256 maxGoal);
    error DurationOutOfRange(uint256 duration, uint256 maxDuration);
    error PaymentRefUsed(bytes32 paymentRef, address campaign);
    error NoFeesHeld();

    IIssuerRegistry public immutable registry;
    address public implementation;
    address payable public feeRecipient;
    uint16 public platformFeeBps;
    uint256 public feesHeld;
    mapping(address campaign => bool) public isCampaign;
    mapping(string campaignId => address campaign) public campaignIdToAddress;
    /// One payment backs one investment or refund, whichever campaign it is reported to.
    mapping(bytes32 paymentRef => address campaign) public paymentRefUsedBy;
    address[] private _campaigns;

    constructor(address admin, IIssuerRegistry registry_, address payable feeRecipient_, uint16 feeBps) {
        if (admin == address(0)) revert ZeroAddress("admin");
        if (address(registry_) == address(0)) revert ZeroAddress("registry");
        registry = registry_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(ADMIN_ROLE, admin);
        _grantRole(OPERATOR_ROLE, admin);
        _setFee(feeBps);
        _setFeeRecipient(feeRecipient_);
    }

    /// For the issuer itself, or an operator on its behalf; the money goes to `beneficiary` either way.
    ///
    /// Takes the issuer's lock: an issuer the registry does not know, or that is locked or has used its year,
    /// is refused by the registry's own error.
    function createCampaign(
        string memory campaignId,
        string memory companyName,
        string memory description,
        uint256 fundingGoal,
        uint256 duration,
        string memory documentHash,
        address beneficiary
    ) external returns (address campaign) {
        if (msg.sender != beneficiary && !hasRole(OPERATOR_ROLE, msg.sender)) {
            revert NotIssuerNorOperator(msg.sender, beneficiary);
        }
        _requireTerms(campaignId, companyName, fundingGoal, duration);
        uint256 deadline = block.timestamp + duration;

        campaign = Clones.clone(implementation);
        isCampaign[campaign] = true;
        campaignIdToAddress[campaignId] = campaign;
        _campaigns.push(campaign);
        ICampaign(campaign).initialize(
            CampaignTerms(
                msg.sender,
                beneficiary,
                address(registry),
                campaignId,
                companyName,
                description,
                documentHash,
                fundingGoal,
                deadline,
                platformFeeBps
            )
        );
        registry.setExclusivityLock(beneficiary, campaign);
        emit CampaignCreated(campaign, msg.sender, beneficiary, campaignId, companyName, fundingGoal, deadline);
    }

    function setImplementation(address newImplementation) external onlyRole(ADMIN_ROLE) {
        if (newImplementation.code.length == 0) revert NotAContract(newImplementation);
        implementation = newImplementation;
        emit ImplementationUpdated(newImplementation);
    }

    /// Holds for campaigns made from now on; a running campaign keeps the fee it was created with.
    function updatePlatformFee(uint16 newFee) external onlyRole(ADMIN_ROLE) {
        _setFee(newFee);
    }

    function updateFeeRecipient(address payable newRecipient) external onlyRole(ADMIN_ROLE) {
        _setFeeRecipient(newRecipient);
    }

    function withdrawFees() external onlyRole(ADMIN_ROLE) {
        uint256 amount = feesHeld;
        if (amount == 0) revert NoFeesHeld();
        feesHeld = 0;
        emit PlatformFeesWithdrawn(feeRecipient, amount);
        (bool paid, ) = feeRecipient.call{value: amount}("");
        if (!paid) revert PaymentFailed(feeRecipient, amount);
    }

    /// Called by a campaign that pays out.
    function collectFee() external payable {
        _requireCampaign();
        feesHeld += msg.value;
        emit PlatformFeesReceived(msg.sender, msg.value);
    }

    /// Called by a campaign that records a payment made elsewhere.
    function claimPaymentRef(bytes32 paymentRef) external {
        _requireCampaign();
        address user = paymentRefUsedBy[paymentRef];
        if (user != address(0)) revert PaymentRefUsed(paymentRef, user);
        paymentRefUsedBy[paymentRef] = msg.sender;
    }

    /// Called by a campaign that has ended.
    function reportCompletion(uint256 totalRaised, bool successful) external {
        _requireCampaign();
        emit CampaignCompleted(msg.sender, ICampaign(msg.sender).campaignId(), totalRaised, successful);
    }

    function getCampaignCount() external view returns (uint256) {
        return _campaigns.length;
    }

    function campaignAt(uint256 index) external view returns (address) {
        return _campaigns[index];
    }

    function _setFee(uint16 newFee) private {
        if (newFee > MAX_FEE_BPS) revert FeeTooHigh(newFee, MAX_FEE_BPS);
        platformFeeBps = newFee;
        emit PlatformFeeUpdated(newFee);
    }

    function _setFeeRecipient(address payable newRecipient) private {
        if (newRecipient == address(0)) revert ZeroAddress("feeRecipient");
        feeRecipient = newRecipient;
        emit FeeRecipientUpdated(newRecipient);
    }

    function _requireCampaign() private view {
        if (!isCampaign[msg.sender]) revert NotCampaign(msg.sender);
    }

    function _requireTerms(
        string memory campaignId,
        string memory companyName,
        uint256 fundingGoal,
        uint256 duration
    ) private view {
        if (implementation == address(0)) revert ImplementationNotSet();
        if (bytes(campaignId).length == 0) revert EmptyField("campaignId");
        if (bytes(companyName).length == 0) revert EmptyField("companyName");
        address existing = campaignIdToAddress[campaignId];
        if (existing != address(0)) revert CampaignIdExists(campaignId, existing);
        if (fundingGoal == 0 || fundingGoal > MAX_GOAL) revert GoalOutOfRange(fundingGoal, MAX_GOAL);
        if (duration == 0 || duration > MAX_DURATION) revert DurationOutOfRange(duration, MAX_DURATION);
    }
}
