// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

/// Where a campaign stands. The numbers are in `CampaignStatusChanged` and never change meaning.
///
///     None -> Active                          creation
///     Active -> Funded                        75 % of the goal reached, money released
///     Active -> Failed                        finalize() after the deadline
///     Active -> Cancelled                     cancel() by an administrator
///     Funded -> Successful                    finalize() after the deadline
///     Failed | Cancelled -> Refunding         the first refund
///     Refunding -> Refunded                   the last refund
///
/// Pausing is no status: it stops investing and nothing else.
enum CampaignStatus {
    None,
    Active,
    Funded,
    Successful,
    Failed,
    Refunding,
    Refunded,
    Cancelled
}

/// All that a campaign is created with.
struct CampaignTerms {
    address creator;
    address beneficiary;
    address registry;
    string campaignId;
    string companyName;
    string description;
    string documentHash;
    uint256 fundingGoal;
    uint256 deadline;
    uint16 platformFeeBps;
}

/// What the factory and the certificates ask of a campaign.
interface ICampaign {
    function initialize(CampaignTerms calldata terms) external;

    function campaignId() external view returns (string memory);

    function companyName() external view returns (string memory);

    function fundingGoal() external view returns (uint256);

    function status() external view returns (CampaignStatus);

    function investedBy(address investor) external view returns (uint256);
}
