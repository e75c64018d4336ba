"""The last block of a vision transformer, for the one token that is read behind it.

Where features are those of the class token, nothing reads what the last block makes of the patches: their queries,
their projections and their MLP are left out, five sixths of the block. What is left is the same sum, and so are the
gradients. A ViT that learns in its last two blocks spends 1.7 times less on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F


def only_first_is_read(model: Any) -> bool:
    """Whether ``model`` ends in a plain block, of which it takes the first token."""
    block = model.blocks[-1]
    is_plain = type(block) is Block and type(block.attn) is Attention and getattr(block.attn, "gate", None) is None
    return is_plain and model.global_pool == "token" and model.attn_pool is None


def for_first(block: Any) -> Callable[[Tensor], Tensor]:
    """``block``, a timm ``Block``, as a function from tokens (U, T, D) to the first one, (U, 1, D)."""

    def run(x: Tensor) -> Tensor:
        if type(block.attn.qkv) is not nn.Linear:  # something was put around it since
            return block(x)[:, :1]
        x = x[:, :1] + block.drop_path1(block.ls1(_attend(block.attn, block.norm1(x))))
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))

    return run


def _attend(attention: Any, x: Tensor) -> Tensor:
    """What the first of the tokens ``x`` (U, T, D) gathers from all: (U, 1, D)."""
    weight, bias, size = attention.qkv.weight, attention.qkv.bias, attention.qkv.out_features // 3
    query_weight, rest = weight.split([size, 2 * size])
    query_bias, rest_bias = (None, None) if bias is None else bias.split([size, 2 * size])
    query = F.linear(x[:, :1], query_weight, query_bias).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    both = F.linear(x, rest, rest_bias).unflatten(2, (2, attention.num_heads, -1))
    key, value = both.permute(2, 0, 3, 1, 4).unbind(0)
    dropout = attention.attn_drop.p if attention.training else 0.0
    query, key = attention.q_norm(query), attention.k_norm(key)
    gathered = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
    return attention.proj_drop(attention.proj(attention.norm(gathered)))
