// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";

import {CivilDate} from "./CivilDate.sol";
import {EmptyField, ZeroAddress} from "./Errors.sol";
import {IIssuerRegistry} from "./interfaces/IIssuerRegistry.sol";

/// Who may raise money, and how often: one campaign at a time, one in a UTC calendar year.
///
/// A lock belongs to the campaign it was taken for; that campaign gives it back when it completes. Deactivating
/// an issuer also clears it, and does not stop a running campaign: an administrator cancels or pauses that one.
contract IssuerRegistry is AccessControl, IIssuerRegistry {
    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");
    /// For the factory: it may take locks for campaigns it has just made.
    bytes32 public constant LOCKER_ROLE = keccak256("LOCKER_ROLE");

    struct Issuer {
        string vcHash;
        string ipfsHash;
        uint64 registeredAt;
        uint16 lastCampaignYear;
        bool isActive;
    }

    event IssuerRegistered(address indexed issuer, string vcHash, string ipfsHash, uint256 timestamp);
    event IssuerDeactivated(address indexed issuer, uint256 timestamp);
    event IssuerReactivated(address indexed issuer, uint256 timestamp);
    event ExclusivityLockChanged(address indexed issuer, address indexed campaign, bool locked, uint16 year);
    event InformationMemorandumUpdated(address indexed issuer, string newIpfsHash);

    error IssuerAlreadyRegistered(address issuer);
    error IssuerNotRegistered(address issuer);
    error IssuerNotActive(address issuer);
    error IssuerAlreadyActive(address issuer);
    error IssuerLocked(address issuer, address campaign);
    error IssuerNotLocked(address issuer);
    error CampaignYearUsed(address issuer, uint16 year);
    error NotLockHolder(address caller, address campaign);

    mapping(address issuer => Issuer) private _issuers;
    mapping(address issuer => address campaign) public activeCampaign;
    address[] private _registered;

    constructor(address admin) {
        if (admin == address(0)) revert ZeroAddress("admin");
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(REGISTRAR_ROLE, admin);
    }

    function registerIssuer(
        address issuer,
        string calldata vcHash,
        string calldata ipfsHash
    ) external onlyRole(REGISTRAR_ROLE) {
        if (issuer == address(0)) revert ZeroAddress("issuer");
        if (bytes(vcHash).length == 0) revert EmptyField("vcHash");
        if (bytes(ipfsHash).length == 0) revert EmptyField("ipfsHash");
        if (_issuers[issuer].registeredAt != 0) revert IssuerAlreadyRegistered(issuer);

        _issuers[issuer] = Issuer(vcHash, ipfsHash, uint64(block.timestamp), 0, true);
        _registered.push(issuer);
        emit IssuerRegistered(issuer, vcHash, ipfsHash, block.timestamp);
    }

    /// Also clears a lock, and says so before it says the issuer is inactive.
    function deactivateIssuer(address issuer) external onlyRole(REGISTRAR_ROLE) {
        _requireActive(issuer);
        _issuers[issuer].isActive = false;
        if (activeCampaign[issuer] != address(0)) _unlock(issuer);
        emit IssuerDeactivated(issuer, block.timestamp);
    }

    /// The year of the last campaign is kept: leaving and coming back does not earn a second campaign.
    function reactivateIssuer(address issuer) external onlyRole(REGISTRAR_ROLE) {
        Issuer storage entry = _requireRegistered(issuer);
        if (entry.isActive) revert IssuerAlreadyActive(issuer);
        entry.isActive = true;
        emit IssuerReactivated(issuer, block.timestamp);
    }

    /// An issuer replaces its own information memorandum.
    function updateInformationMemorandum(string calldata newIpfsHash) external {
        _updateMemorandum(msg.sender, newIpfsHash);
    }

    /// The registrar replaces it for an issuer that sends no transactions of its own.
    function updateInformationMemorandumFor(
        address issuer,
        string calldata newIpfsHash
    ) external onlyRole(REGISTRAR_ROLE) {
        _updateMemorandum(issuer, newIpfsHash);
    }

    function setExclusivityLock(address issuer, address campaign) external onlyRole(LOCKER_ROLE) {
        if (campaign == address(0)) revert ZeroAddress("campaign");
        Issuer storage entry = _requireActive(issuer);
        uint16 year = getCurrentYear();
        if (activeCampaign[issuer] != address(0)) revert IssuerLocked(issuer, activeCampaign[issuer]);
        if (entry.lastCampaignYear == year) revert CampaignYearUsed(issuer, year);

        entry.lastCampaignYear = year;
        activeCampaign[issuer] = campaign;
        emit ExclusivityLockChanged(issuer, campaign, true, year);
    }

    /// For the campaign that holds the lock, or a registrar.
    function releaseExclusivityLock(address issuer) external {
        address campaign = activeCampaign[issuer];
        if (campaign == address(0)) revert IssuerNotLocked(issuer);
        if (msg.sender != campaign && !hasRole(REGISTRAR_ROLE, msg.sender)) {
            revert NotLockHolder(msg.sender, campaign);
        }
        _unlock(issuer);
    }

    function canStartCampaign(address issuer) external view returns (bool) {
        Issuer storage entry = _issuers[issuer];
        return entry.isActive && activeCampaign[issuer] == address(0) && entry.lastCampaignYear != getCurrentYear();
    }

    function isRegisteredIssuer(address issuer) external view returns (bool) {
        return _issuers[issuer].isActive;
    }

    function getIssuer(address issuer) external view returns (Issuer memory) {
        return _issuers[issuer];
    }

    function issuerCount() external view returns (uint256) {
        return _registered.length;
    }

    function issuerAt(uint256 index) external view returns (address) {
        return _registered[index];
    }

    function getCurrentYear() public view returns (uint16) {
        return CivilDate.yearOf(block.timestamp);
    }

    function yearOf(uint256 timestamp) external pure returns (uint16) {
        return CivilDate.yearOf(timestamp);
    }

    function _updateMemorandum(address issuer, string calldata newIpfsHash) private {
        Issuer storage entry = _requireActive(issuer);
        if (bytes(newIpfsHash).length == 0) revert EmptyField("newIpfsHash");
        entry.ipfsHash = newIpfsHash;
        emit InformationMemorandumUpdated(issuer, newIpfsHash);
    }

    function _unlock(address issuer) private {
        address campaign = activeCampaign[issuer];
        delete activeCampaign[issuer];
        emit ExclusivityLockChanged(issuer, campaign, false, _issuers[issuer].lastCampaignYear);
    }

    function _requireRegistered(address issuer) private view returns (Issuer storage entry) {
        entry = _issuers[issuer];
        if (entry.registeredAt == 0) revert IssuerNotRegistered(issuer);
    }

    function _requireActive(address issuer) private view returns (Issuer storage entry) {
        entry = _requireRegistered(issuer);
        if (!entry.isActive) revert IssuerNotActive(issuer);
    }
}
