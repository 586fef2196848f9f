//! What llama.cpp and Hugging Face call the same tensor.

/// The name of a tensor in Hugging Face checkpoints; none for one that they do not have.
pub(super) fn hugging_face_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let outside = match module {
        "token_embd" => Some("model.embed_tokens"),
        "output_norm" => Some("model.norm"),
        "output" => Some("lm_head"),
        _ => None,
    };
    if let Some(outside) = outside {
        return Some(format!("{outside}.{kind}"));
    }
    let (block, part) = module.strip_prefix("blk.")?.split_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{block}.{part}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::hugging_face_name as name;

    #[test]
    fn names_are_translated() {
        assert_eq!(name("blk.12.attn_q.bias").unwrap(), "model.layers.12.self_attn.q_proj.bias");
        assert_eq!(name("token_embd.weight").unwrap(), "model.embed_tokens.weight");
        assert_eq!(name("rope_freqs.weight"), None);
        assert_eq!(name("blk.weight"), None);
    }
}
