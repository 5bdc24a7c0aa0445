// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

/// The proleptic Gregorian calendar in UTC, without leap seconds, as Unix time counts it.
library CivilDate {
    uint256 private constant SECONDS_PER_DAY = 86_400;
    /// Days from 0000-03-01 to 1970-01-01: counting from March puts the leap day last.
    uint256 private constant DAYS_TO_EPOCH = 719_468;
    uint256 private constant DAYS_PER_ERA = 146_097;
    uint256 private constant YEARS_PER_ERA = 400;
    /// 1 January is day 306 of a year that begins on 1 March.
    uint256 private constant JANUARY_FIRST = 306;

    /// The calendar year a Unix time falls in.
    function yearOf(uint256 timestamp) internal pure returns (uint16) {
        uint256 day = timestamp / SECONDS_PER_DAY + DAYS_TO_EPOCH;
        uint256 era = day / DAYS_PER_ERA;
        uint256 dayOfEra = day % DAYS_PER_ERA;
        uint256 yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
        uint256 dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
        uint256 year = era * YEARS_PER_ERA + yearOfEra + (dayOfYear >= JANUARY_FIRST ? 1 : 0);
        return uint16(year);
    }
}
