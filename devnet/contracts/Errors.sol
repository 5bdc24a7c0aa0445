// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

// Refusals more than one contract can give. Those of one contract only are declared in it.

/// `field` must not be the zero address.
error ZeroAddress(string field);
/// `field` must not be empty or zero.
error EmptyField(string field);
/// The receiver did not accept the money; nothing was changed.
error PaymentFailed(address to, uint256 amount);
/// A fee above the allowed share of what is raised, both in basis points.
error FeeTooHigh(uint256 feeBps, uint256 maxBps);
