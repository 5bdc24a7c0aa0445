// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

/// What the factory and its campaigns ask of the registry.
interface IIssuerRegistry {
    function setExclusivityLock(address issuer, address campaign) external;

    function releaseExclusivityLock(address issuer) external;

    function activeCampaign(address issuer) external view returns (address);
}
