// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

/// Who committed to what, and when: hashes of things that are kept elsewhere.
///
/// Anyone may anchor anything, about anything: authority is the signer's, and is judged by whoever reads. What
/// a kind means, and which steps from one to another are legal, is decided there too, so that rules can change
/// without a new contract. `seq` counts per subject, without gaps, so that a reader knows whether it has all.
contract AnchorRegistry {
    event Anchored(
        bytes32 indexed subject,
        uint16 indexed kind,
        address indexed by,
        bytes32 contentHash,
        uint64 occurredAt,
        bytes32 ref,
        uint64 seq
    );

    /// How many anchors each subject has.
    mapping(bytes32 subject => uint64) public count;

    function anchor(bytes32 subject, uint16 kind, bytes32 contentHash, uint64 occurredAt, bytes32 ref) external {
        uint64 seq = ++count[subject];
        emit Anchored(subject, kind, msg.sender, contentHash, occurredAt, ref, seq);
    }
}
