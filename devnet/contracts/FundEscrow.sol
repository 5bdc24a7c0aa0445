// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {EmptyField, PaymentFailed, ZeroAddress} from "./Errors.sol";

/// Holds money for campaigns that are settled by a custodian rather than by their own contract.
///
/// An account is named by the campaign's id. Every event carries the id in clear, and its keccak-256 as a topic
/// to filter by. An account ends once: released to the issuer, refunded investor by investor, or emptied by an
/// administrator while paused. Pausing stops all money.
contract FundEscrow is AccessControl, Pausable, ReentrancyGuard {
    bytes32 public constant ADMIN_ROLE = keccak256("ADMIN_ROLE");
    bytes32 public constant CAMPAIGN_ROLE = keccak256("CAMPAIGN_ROLE");

    enum EscrowStatus {
        None,
        Open,
        Released,
        Refunding,
        Withdrawn
    }

    struct EscrowAccount {
        address payable issuer;
        EscrowStatus status;
        uint256 deposited;
        uint256 held;
    }

    event EscrowAccountCreated(bytes32 indexed campaignKey, address indexed issuer, string campaignId);
    event FundsDeposited(
        bytes32 indexed campaignKey,
        address indexed investor,
        string campaignId,
        uint256 amount,
        uint256 totalEscrow
    );
    event FundsReleased(
        bytes32 indexed campaignKey,
        address indexed issuer,
        string campaignId,
        uint256 amount
    );
    event RefundsOpened(bytes32 indexed campaignKey, string campaignId, uint256 totalEscrow);
    event RefundProcessed(
        bytes32 indexed campaignKey,
        address indexed investor,
        string campaignId,
        uint256 amount
    );
    event EmergencyWithdrawal(
        bytes32 indexed campaignKey,
        address indexed to,
        string campaignId,
        uint256 amount
    );

    error AccountExists(string campaignId);
    error WrongEscrowStatus(string campaignId, EscrowStatus status);
    error NothingDeposited(string campaignId, address investor);

    mapping(bytes32 campaignKey => EscrowAccount) public accounts;
    mapping(bytes32 campaignKey => mapping(address investor => uint256)) public deposits;

    constructor(address admin) {
        if (admin == address(0)) revert ZeroAddress("admin");
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(ADMIN_ROLE, admin);
        _grantRole(CAMPAIGN_ROLE, admin);
    }

    function createEscrowAccount(
        string calldata campaignId,
        address payable issuer
    ) external whenNotPaused onlyRole(CAMPAIGN_ROLE) {
        if (bytes(campaignId).length == 0) revert EmptyField("campaignId");
        if (issuer == address(0)) revert ZeroAddress("issuer");
        bytes32 key = campaignKeyOf(campaignId);
        if (accounts[key].status != EscrowStatus.None) revert AccountExists(campaignId);
        accounts[key] = EscrowAccount(issuer, EscrowStatus.Open, 0, 0);
        emit EscrowAccountCreated(key, issuer, campaignId);
    }

    /// Investors deposit for themselves; the custodian may deposit for anyone.
    function depositFunds(string calldata campaignId, address investor) external payable whenNotPaused {
        if (investor != msg.sender) _checkRole(CAMPAIGN_ROLE);
        if (investor == address(0)) revert ZeroAddress("investor");
        if (msg.value == 0) revert EmptyField("amount");
        (bytes32 key, EscrowAccount storage account) = _in(EscrowStatus.Open, campaignId);
        deposits[key][investor] += msg.value;
        account.deposited += msg.value;
        account.held += msg.value;
        emit FundsDeposited(key, investor, campaignId, msg.value, account.deposited);
    }

    function releaseFunds(
        string calldata campaignId
    ) external nonReentrant whenNotPaused onlyRole(CAMPAIGN_ROLE) {
        (bytes32 key, EscrowAccount storage account) = _in(EscrowStatus.Open, campaignId);
        if (account.held == 0) revert EmptyField("held");
        uint256 amount = account.held;
        account.held = 0;
        account.status = EscrowStatus.Released;
        emit FundsReleased(key, account.issuer, campaignId, amount);
        _pay(account.issuer, amount);
    }

    /// From here on every investor can take its deposit back.
    function openRefunds(string calldata campaignId) external whenNotPaused onlyRole(CAMPAIGN_ROLE) {
        (bytes32 key, EscrowAccount storage account) = _in(EscrowStatus.Open, campaignId);
        account.status = EscrowStatus.Refunding;
        emit RefundsOpened(key, campaignId, account.held);
    }

    /// Sends one investor its deposit. Anyone may ask, since it can go nowhere else.
    function processRefund(string calldata campaignId, address payable investor) external nonReentrant whenNotPaused {
        (bytes32 key, EscrowAccount storage account) = _in(EscrowStatus.Refunding, campaignId);
        uint256 amount = deposits[key][investor];
        if (amount == 0) revert NothingDeposited(campaignId, investor);
        delete deposits[key][investor];
        account.held -= amount;
        emit RefundProcessed(key, investor, campaignId, amount);
        _pay(investor, amount);
    }

    /// Takes all that one account holds. Only while paused, so that it can not race with the ordinary ways out.
    function emergencyWithdraw(
        string calldata campaignId,
        address payable to
    ) external nonReentrant whenPaused onlyRole(ADMIN_ROLE) {
        if (to == address(0)) revert ZeroAddress("to");
        bytes32 key = campaignKeyOf(campaignId);
        EscrowAccount storage account = accounts[key];
        uint256 amount = account.held;
        if (amount == 0) revert WrongEscrowStatus(campaignId, account.status);
        account.held = 0;
        account.status = EscrowStatus.Withdrawn;
        emit EmergencyWithdrawal(key, to, campaignId, amount);
        _pay(to, amount);
    }

    function pause() external onlyRole(ADMIN_ROLE) {
        _pause();
    }

    function unpause() external onlyRole(ADMIN_ROLE) {
        _unpause();
    }

    function campaignKeyOf(string calldata campaignId) public pure returns (bytes32) {
        return keccak256(bytes(campaignId));
    }

    function _in(
        EscrowStatus wanted,
        string calldata campaignId
    ) private view returns (bytes32 key, EscrowAccount storage account) {
        key = campaignKeyOf(campaignId);
        account = accounts[key];
        if (account.status != wanted) revert WrongEscrowStatus(campaignId, account.status);
    }

    function _pay(address payable to, uint256 amount) private {
        (bool paid, ) = to.call{value: amount}("");
        if (!paid) revert PaymentFailed(to, amount);
    }
}
