// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// A constant-product pool of two tokens, with the events pools of this family are indexed by.
///
/// For tests: it takes tokens by allowance, charges 0.3 %, and has no price oracle or flash loan. Tokens that
/// charge on transfer are not supported.
contract Pair is ERC20 {
    using SafeERC20 for IERC20;

    event Mint(address indexed sender, uint256 amount0, uint256 amount1);
    event Burn(address indexed sender, uint256 amount0, uint256 amount1, address indexed to);
    event Swap(
        address indexed sender,
        uint256 amount0In,
        uint256 amount1In,
        uint256 amount0Out,
        uint256 amount1Out,
        address indexed to
    );
    event Sync(uint112 reserve0, uint112 reserve1);

    error NoLiquidity(uint256 shares);
    error NotOfThisPair(address token);
    error TooLittleOut(uint256 amountOut, uint256 minimum);
    error ReserveOverflow(uint256 reserve0, uint256 reserve1);

    IERC20 public immutable token0;
    IERC20 public immutable token1;
    uint112 public reserve0;
    uint112 public reserve1;

    constructor(IERC20 token0_, IERC20 token1_) ERC20("Pool Share", "POOL") {
        token0 = token0_;
        token1 = token1_;
    }

    function addLiquidity(uint256 amount0, uint256 amount1) external returns (uint256 shares) {
        uint256 supply = totalSupply();
        shares = supply == 0
            ? Math.sqrt(amount0 * amount1)
            : Math.min((amount0 * supply) / reserve0, (amount1 * supply) / reserve1);
        if (shares == 0) revert NoLiquidity(shares);
        _mint(msg.sender, shares);
        _sync(reserve0 + amount0, reserve1 + amount1);
        emit Mint(msg.sender, amount0, amount1);
        token0.safeTransferFrom(msg.sender, address(this), amount0);
        token1.safeTransferFrom(msg.sender, address(this), amount1);
    }

    function removeLiquidity(uint256 shares, address to) external returns (uint256 amount0, uint256 amount1) {
        uint256 supply = totalSupply();
        if (shares == 0) revert NoLiquidity(shares);
        amount0 = (shares * reserve0) / supply;
        amount1 = (shares * reserve1) / supply;
        _burn(msg.sender, shares);
        _sync(reserve0 - amount0, reserve1 - amount1);
        emit Burn(msg.sender, amount0, amount1, to);
        token0.safeTransfer(to, amount0);
        token1.safeTransfer(to, amount1);
    }

    function swap(IERC20 tokenIn, uint256 amountIn, uint256 minimum, address to) external returns (uint256 out) {
        bool zeroIn = address(tokenIn) == address(token0);
        if (!zeroIn && address(tokenIn) != address(token1)) revert NotOfThisPair(address(tokenIn));
        (uint256 held, uint256 other) = zeroIn ? (reserve0, reserve1) : (reserve1, reserve0);
        uint256 charged = amountIn * 997;
        out = (charged * other) / (held * 1_000 + charged);
        if (out < minimum || out == 0) revert TooLittleOut(out, minimum);
        if (zeroIn) {
            _sync(held + amountIn, other - out);
            emit Swap(msg.sender, amountIn, 0, 0, out, to);
        } else {
            _sync(other - out, held + amountIn);
            emit Swap(msg.sender, 0, amountIn, out, 0, to);
        }
        tokenIn.safeTransferFrom(msg.sender, address(this), amountIn);
        (zeroIn ? token1 : token0).safeTransfer(to, out);
    }

    function _sync(uint256 new0, uint256 new1) private {
        if (new0 > type(uint112).max || new1 > type(uint112).max) revert ReserveOverflow(new0, new1);
        reserve0 = uint112(new0);
        reserve1 = uint112(new1);
        emit Sync(reserve0, reserve1);
    }
}
