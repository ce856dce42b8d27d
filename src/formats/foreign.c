#include "src/formats/foreign.h"

#include <string.h>
#include <strings.h>

static const char merge[] = "let PEFT merge it (merge_and_unload, save_pretrained) and use the "
                            "result as the model";
static const char plain[] = "lorac reads only plain LoRA: train one, or let PEFT merge this one "
                            "(merge_and_unload) and use the result as the model";
static const char use_model[] = "use its directory, with its config.json, as the model";
static const char export_peft[] = "save it in PEFT's form (torchtune: "
                                  "save_adapter_weights_only, format peft)";

static const char mlx[] = "an MLX adapter (mlx_lm.lora)";
static const char fuse[] =
    "let mlx_lm.fuse merge it into its base (--save-path) and use the result "
    "as the model";
const struct foreign foreign_mlx = { "lora_parameters", mlx, fuse };

/* Sources: mlx-lm tuner/lora.py, torchtune modules/peft/lora.py, kohya-ss/sd-scripts lora.py,
 * diffusers loaders/lora_base.py, LyCORIS, peft tuners' parameter names. The first row that fits
 * counts. */
static const struct foreign tensors[] = {
    { "lora_unet_", "a LoRA for an image model (kohya)", "it does not belong to a language model" },
    { "lora_te", "a LoRA for an image model's text encoder (kohya)",
      "it does not belong to a language model" },
    { "unet.", "a LoRA for an image model (diffusers)", "it does not belong to a language model" },
    { "transformer.transformer_blocks.", "a LoRA for an image model (diffusers)",
      "it does not belong to a language model" },
    { "transformer.single_transformer_blocks.", "a LoRA for an image model (diffusers)",
      "it does not belong to a language model" },
    { "diffusion_model.", "a LoRA for an image model", "it does not belong to a language model" },
    { "text_encoder.", "a LoRA for an image model's text encoder (diffusers)",
      "it does not belong to a language model" },
    { "hada_w", "LoHa (LyCORIS)", merge },
    { "lokr_w", "LoKr (LyCORIS)", merge },
    { "lora_mid", "LoCon (LyCORIS)", "it does not belong to a language model" },
    { "oft_blocks", "OFT", merge },
    { "oft_R", "OFT", merge },
    { "oft_r", "OFT", merge },
    { "boft_", "BOFT", merge },
    { "ia3_l", "IA3", merge },
    { "vera_lambda", "VeRA", merge },
    { "adaption_", "an adaption prompt (LLaMA-Adapter)", "train a LoRA instead" },
    { "prompt_embeddings", "a prompt or prefix that was tuned", "train a LoRA instead" },
    { "prompt_encoder", "a prompt or prefix that was tuned", "train a LoRA instead" },
    { "lora_magnitude_vector", "DoRA", merge },
    { "dora_scale", "DoRA", merge },
    { "lora_embedding_", "LoRA on the embedding", merge },
    { "trainable_tokens_", "embeddings of trained tokens", merge },
    { "lora_E", "AdaLoRA", merge },
    { "ranknum", "AdaLoRA", merge },
    { "lora_variational", "MonteCLoRA", merge },
    { ".attn.q_proj.lora_", "a torchtune adapter", export_peft },
    { ".attn.k_proj.lora_", "a torchtune adapter", export_peft },
    { ".attn.v_proj.lora_", "a torchtune adapter", export_peft },
    { ".attn.output_proj.lora_", "a torchtune adapter", export_peft },
    { ".mlp.w1.lora_", "a torchtune adapter", export_peft },
    { ".mlp.w2.lora_", "a torchtune adapter", export_peft },
    { ".mlp.w3.lora_", "a torchtune adapter", export_peft },
    { ".attn.qkv.lora_", "a LitGPT adapter",
      "merge it with litgpt merge_lora and convert the "
      "result" },
    { ".lora_a", mlx, fuse },
    { ".lora_b", mlx, fuse },
    { ".lora_down", "a LoRA of another program (lora_down, lora_up)", plain },
    { ".lora_up", "a LoRA of another program (lora_down, lora_up)", plain },
    { "lm_head.lora_", "LoRA on the output head", merge },
    { "embed_tokens.lora_", "LoRA on the embedding", merge },
};

static const struct foreign whole[] = {
    { "model.layers.", "weights of a model (Hugging Face)", use_model },
    { "blk.", "weights of a model (llama.cpp's names)", use_model },
    { "layers.", "weights of a model (Meta's or torchtune's names)",
      "convert them to Hugging Face's form" },
    { "model.embed_tokens.", "weights of a model (Hugging Face)", use_model },
    { "lm_head.", "weights of a model (Hugging Face)", use_model },
    { "transformer.h.", "weights of a model of the GPT-2 family",
      "it is not a Llama; lorac runs only Llama models" },
};

static const struct foreign types[] = {
    { "ADALORA", "AdaLoRA", merge },
    { "LOHA", "LoHa", merge },
    { "LOKR", "LoKr", merge },
    { "OFT", "OFT", merge },
    { "BOFT", "BOFT", merge },
    { "VERA", "VeRA", merge },
    { "IA3", "IA3", merge },
    { "PREFIX_TUNING", "a prefix that was tuned", "train a LoRA instead" },
    { "PROMPT_TUNING", "a prompt that was tuned", "train a LoRA instead" },
    { "MULTITASK_PROMPT_TUNING", "a prompt that was tuned", "train a LoRA instead" },
    { "P_TUNING", "a prompt that was tuned", "train a LoRA instead" },
    { "ADAPTION_PROMPT", "an adaption prompt (LLaMA-Adapter)", "train a LoRA instead" },
    { "TRAINABLE_TOKENS", "embeddings of trained tokens", merge },
    { "XLORA", "a mixture of LoRAs", "use one of its adapters" },
};
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

const struct foreign *foreign_tensor(const char *name)
{
    for (size_t i = 0; i < COUNT(tensors); i++) {
        if (strstr(name, tensors[i].sign)) return &tensors[i];
    }
    return NULL;
}

const struct foreign *foreign_file(const struct safetensors *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct foreign *found = foreign_tensor(f->tensors[i].name);
        if (found) return found;
    }
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < COUNT(whole); k++) {
            if (strncmp(f->tensors[i].name, whole[k].sign, strlen(whole[k].sign)) == 0)
                return &whole[k];
        }
    }
    return NULL;
}

const struct foreign *foreign_peft_type(const char *type)
{
    for (size_t i = 0; i < COUNT(types); i++) {
        if (strcasecmp(types[i].sign, type) == 0) return &types[i];
    }
    return NULL;
}
