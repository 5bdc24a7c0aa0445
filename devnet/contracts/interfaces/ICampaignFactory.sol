// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

/// What a campaign and the certificates ask of the factory.
interface ICampaignFactory {
    function isCampaign(address campaign) external view returns (bool);

    function collectFee() external payable;

    function claimPaymentRef(bytes32 paymentRef) external;

    function reportCompletion(uint256 totalRaised, bool successful) external;
}
