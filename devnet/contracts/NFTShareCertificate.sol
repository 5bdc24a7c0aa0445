// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721URIStorage} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721URIStorage.sol";

import {EmptyField, ZeroAddress} from "./Errors.sol";
import {CampaignStatus, ICampaign} from "./interfaces/ICampaign.sol";
import {ICampaignFactory} from "./interfaces/ICampaignFactory.sol";

/// A share certificate for each investor of a successful campaign, minted one at a time.
///
/// The amount is read from the campaign, never taken from the caller. Ownership is what ERC-721 `Transfer` says:
/// certificates move, and their votes move along. A revoked one stays with its last owner, without votes.
contract NFTShareCertificate is ERC721URIStorage, AccessControl {
    bytes32 public constant ADMIN_ROLE = keccak256("ADMIN_ROLE");
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    /// The whole goal is a thousand shares.
    uint256 public constant SHARES_PER_GOAL = 1_000;
    uint256 public constant AMOUNT_PER_VOTE = 1_000e18;

    struct ShareCertificate {
        address campaign;
        address investor;
        uint64 issuedAt;
        bool isActive;
        uint256 investmentAmount;
        uint256 shareCount;
        uint256 votingPower;
    }

    event CertificateIssued(
        uint256 indexed tokenId,
        address indexed owner,
        address indexed campaign,
        string campaignId,
        uint256 investmentAmount,
        uint256 shareCount,
        uint256 votingPower
    );
    event CertificateRevoked(uint256 indexed tokenId, string reason);
    event BaseURIUpdated(string newBaseURI);

    error NotCampaign(address campaign);
    error CampaignNotSuccessful(address campaign, CampaignStatus status);
    error NotInvestor(address campaign, address account);
    error CertificateExists(uint256 tokenId);
    error CertificateInactive(uint256 tokenId);

    ICampaignFactory public immutable factory;
    mapping(uint256 tokenId => ShareCertificate) public certificates;
    mapping(address campaign => mapping(address investor => uint256 tokenId)) public certificateOf;
    /// The votes of the active certificates an address owns now.
    mapping(address owner => uint256) public getVotingPower;
    uint256 public getCurrentTokenId;
    string private _base;

    constructor(address admin, ICampaignFactory factory_) ERC721("Chainfold Share Certificate", "CFSC") {
        if (admin == address(0)) revert ZeroAddress("admin");
        if (address(factory_) == address(0)) revert ZeroAddress("factory");
        factory = factory_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(ADMIN_ROLE, admin);
        _grantRole(MINTER_ROLE, admin);
    }

    /// Mints the certificate of one investor. Token ids start at 1.
    function issueCertificate(
        address campaign,
        address investor,
        string calldata uri
    ) external onlyRole(MINTER_ROLE) returns (uint256 tokenId) {
        if (bytes(uri).length == 0) revert EmptyField("uri");
        uint256 amount = _certifiable(campaign, investor);
        uint256 shares = _atLeastOne((amount * SHARES_PER_GOAL) / ICampaign(campaign).fundingGoal());
        uint256 votes = _atLeastOne(amount / AMOUNT_PER_VOTE);

        tokenId = ++getCurrentTokenId;
        certificateOf[campaign][investor] = tokenId;
        certificates[tokenId] = ShareCertificate(
            campaign,
            investor,
            uint64(block.timestamp),
            true,
            amount,
            shares,
            votes
        );
        // Not the "safe" mint: it would let an investor's contract refuse, or call back.
        _mint(investor, tokenId);
        _setTokenURI(tokenId, uri);
        emit CertificateIssued(
            tokenId,
            investor,
            campaign,
            ICampaign(campaign).campaignId(),
            amount,
            shares,
            votes
        );
    }

    function revokeCertificate(uint256 tokenId, string calldata reason) external onlyRole(ADMIN_ROLE) {
        if (bytes(reason).length == 0) revert EmptyField("reason");
        ShareCertificate storage certificate = certificates[tokenId];
        address owner = _requireOwned(tokenId);
        if (!certificate.isActive) revert CertificateInactive(tokenId);
        certificate.isActive = false;
        getVotingPower[owner] -= certificate.votingPower;
        emit CertificateRevoked(tokenId, reason);
    }

    function setBaseURI(string calldata newBaseURI) external onlyRole(ADMIN_ROLE) {
        _base = newBaseURI;
        emit BaseURIUpdated(newBaseURI);
        emit BatchMetadataUpdate(1, type(uint256).max);
    }

    function supportsInterface(bytes4 id) public view override(ERC721URIStorage, AccessControl) returns (bool) {
        return ERC721URIStorage.supportsInterface(id) || AccessControl.supportsInterface(id);
    }

    function _certifiable(address campaign, address investor) private view returns (uint256 amount) {
        if (!factory.isCampaign(campaign)) revert NotCampaign(campaign);
        CampaignStatus status = ICampaign(campaign).status();
        if (status != CampaignStatus.Successful) revert CampaignNotSuccessful(campaign, status);
        amount = ICampaign(campaign).investedBy(investor);
        if (amount == 0) revert NotInvestor(campaign, investor);
        uint256 existing = certificateOf[campaign][investor];
        if (existing != 0) revert CertificateExists(existing);
    }

    /// Votes follow the token; a revoked certificate does not move.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        ShareCertificate storage certificate = certificates[tokenId];
        if (!certificate.isActive && _ownerOf(tokenId) != address(0)) revert CertificateInactive(tokenId);
        from = super._update(to, tokenId, auth);
        if (from != address(0)) getVotingPower[from] -= certificate.votingPower;
        if (to != address(0)) getVotingPower[to] += certificate.votingPower;
    }

    function _baseURI() internal view override returns (string memory) {
        return _base;
    }

    /// A small investor is an investor: no certificate is worth nothing.
    function _atLeastOne(uint256 count) private pure returns (uint256) {
        return count == 0 ? 1 : count;
    }
}
