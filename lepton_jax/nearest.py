"""Finds the name that was probably meant: by its letters, or as a word that other tools use.

Imports: the standard library only.
"""

import difflib
from collections.abc import Iterable

CUTOFF = 0.65
"""How alike two names are, from 0 to 1, before one is taken for a slip of the other. 'version' and
'verify' are 0.62 alike."""

_ELSEWHERE: dict[str, str] = {
    # config keys, by their paths
    "optimizer.learning_rate": "lr rate eta step_size base_lr init_lr peak_lr max_lr alpha",
    "optimizer.weight_decay": "wd l2 decay weight_decay_rate",
    "optimizer.clip_norm": (
        "clip clipnorm grad_clip gradient_clip gradient_clip_val clip_grad_norm max_grad_norm"
    ),
    "optimizer.b1": "beta1 beta_1 adam_beta1",
    "optimizer.b2": "beta2 beta_2 adam_beta2",
    "optimizer.eps": "epsilon adam_epsilon",
    "optimizer.momentum": "sgd_momentum",
    "lora.rank": "r lora_r lora_rank",
    "lora.alpha": "lora_alpha",
    "optimizer": "opt optim",
    "schedule": "sched scheduler lr_schedule lr_scheduler lr_scheduler_type",
    "schedule.warmup": "warmup_steps warmup_epochs warm_up num_warmup_steps warmup_ratio",
    "train_for": (
        "epoch epochs num_epochs n_epochs nb_epoch max_epochs total_epochs num_train_epochs "
        "step steps num_steps n_steps max_steps total_steps train_steps num_train_steps "
        "iters iterations max_iter max_iters num_iterations duration"
    ),
    "batch_size": "batch bs bsz batchsize train_batch_size per_device_train_batch_size mini_batch",
    "accumulate": (
        "accum grad_accum accumulation_steps gradient_accumulation accumulate_grad_batches "
        "gradient_accumulation_steps"
    ),
    "ema": "ema_decay ema_rate polyak",
    "precision": "dtype fp16 bf16 amp mixed_precision half",
    "seed": "random_seed rng_seed random_state manual_seed",
    "init_from": "pretrained weights load_from init_checkpoint load_checkpoint finetune_from",
    "evaluate_every": (
        "eval_every eval_interval eval_steps eval_freq val_every val_interval val_check_interval "
        "check_val_every_n_epoch validate_every"
    ),
    "log_every": (
        "log_interval log_steps log_freq logging_steps log_every_n_steps print_freq print_every"
    ),
    "checkpoint_every": "save_every save_interval save_steps save_freq ckpt_every",
    "keep_last": "max_to_keep keep save_total_limit save_top_k",
    "best.metric": "monitor metric_for_best_model",
    "best.mode": "greater_is_better",
    "writers": "logger loggers report_to tracker wandb mlflow tensorboard",
    "strategy": "accelerator distributed parallel",
    "model.width": "hidden hidden_size hidden_dim hidden_units d_model dim embed_dim n_embd units",
    "model.features": "channels filters num_filters widths hidden hidden_sizes",
    "model.depth": "layers num_layers n_layers n_layer num_hidden_layers blocks num_blocks",
    "model.blocks": "layers num_layers n_layers n_layer num_hidden_layers depth num_blocks",
    "model.heads": "num_heads n_heads n_head nhead num_attention_heads",
    "model.dropout": "drop drop_rate drop_prob dropout_rate dropout_prob",
    "model": "arch architecture network net",
    "task": "objective criterion",
    "task.label_smoothing": "smoothing label_smooth",
    "data.source.name": "dataset_name",
    "data.source.dataset": "dataset",
    "data.source.path": "data_path csv_path file files",
    "data.source.data_dir": "data_dir data_root dataset_dir tfds_dir",
    "data.source": "dataset data_source",
    "data.workers": "num_workers n_workers dataloader_num_workers",
    "data.valid_fraction": "val_split validation_split val_fraction valid_split val_size",
    "data.augment": "augmentation augmentations transform transforms",
    "data.tokenizer": "tokeniser vocab",
    # flags
    "workdir": (
        "logdir log_dir output_dir out_dir save_dir run_dir rundir work_dir model_dir ckpt_dir "
        "default_root_dir dir folder"
    ),
    "out": "output output_path out_file dest",
    "config": "cfg conf config_file config_name recipe",
    "checkpoint": "ckpt ckpt_path checkpoint_path",
    "dry_run": "dry dryrun noop",
    "vary": "sweep grid param params",
    "seeds": "num_seeds n_seeds repeats seed",
    "tokens": "max_tokens max_new_tokens max_length num_tokens length",
    "replace": "overwrite force",
    "sort": "sort_by order order_by",
    "where": "filter query select",
    "columns": "cols fields",
    "to": "alias stage",
    "bundle": "model_path model_dir export_dir onnx stablehlo saved_model",
    # commands
    "train": "fit run resume start finetune pretrain",
    "evaluate": "eval test validate score",
    "predict": "infer inference classify",
    "generate": "sample complete",
    "ablate": "sweep tune search grid hpo optimize",
    "runs": "ls compare results history",
    "export": "save freeze",
    "register": "upload push publish",
    "promote": "stage release",
    "plan": "estimate cost memory flops",
    "monitor": "drift alarm observe",
    "watch": "status progress dashboard",
    # splits, units, components
    "image_classification": "classification classify",
    "valid": "val validation dev",
    "steps": "iters iterations batches it its iter batch",
    "epochs": "ep eps",
    "examples": "samples images ex",
    "accuracy": "acc",
    "cosine": "cosine_decay cosine_annealing cosineannealinglr",
    "one_cycle": "onecycle onecyclelr",
    "piecewise": "step_decay multistep multisteplr steplr",
    "folder": "imagefolder image_folder image_directory directory",
    "saved_dataset": "huggingface hugging_face hf datasets load_from_disk",
    "transformer": "gpt gpt2 llama decoder decoder_only",
    "encoder_decoder": "seq2seq t5",
    "cnn": "convnet conv conv2d",
    "vit": "vision_transformer vit_b16 vit_b_16 vit_s16 vit_s_16 vit_l16 vit_l_16",
    "pad_crop": "random_crop randomcrop",
    "flip": "random_flip horizontal_flip hflip random_horizontal_flip",
    "scale": "normalize rescale",
    "top_k": "top5 top_5 topk top_5_accuracy",
    "bfloat16": "bf16 fp16 16 half float16 mixed bf16_mixed 16_mixed mixed_bfloat16",
    "float32": "fp32 32 single full 32_true",
    "float64": "fp64 64 double",
    "true": "yes on 1 t y",
    "false": "no off 0 f n",
    "device": "gpu cuda tpu accelerator",
    "stream": "host cpu ram",
    "markdown": "md",
    "hugging_face": "hf transformers safetensors",
    "production": "prod live",
    "gke": "kubernetes k8s jobset gcp",
    "inprocess": "local serial thread",
    "pmap": "ddp dp data_parallel distributed_data_parallel",
    "mesh": "fsdp zero tensor_parallel sharded gspmd deepspeed",
    "max": "maximum maximize higher",
    "min": "minimum minimize lower",
    "finished": "done completed",
}
"""By a name of lepton_jax, the words that stand for it elsewhere."""


def find_nearest(name: str, choices: Iterable[str]) -> str | None:
    """Returns the one of `choices` that was probably meant by `name`; None where none is near."""
    choices = [*choices]
    if meant := find_meant(name, choices):
        return meant
    by_fold = {_fold(choice): choice for choice in reversed(choices)}
    near = difflib.get_close_matches(_fold(name), by_fold, n=1, cutoff=CUTOFF)
    return by_fold[near[0]] if near else None


def find_meant(name: str, choices: Iterable[str]) -> str | None:
    """Returns the one of `choices` that `name` is in other words; None where it is none.

    Case and '-' for '_' do not matter. `lr` is `learning_rate`, and, where the choices are paths,
    `optimizer.learning_rate`; `optimizer.lr` and `accuracy` are found among paths as well.
    """
    by_fold: dict[str, str] = {}
    for choice in choices:
        by_fold.setdefault(_fold(choice), choice)
    meanings = _meanings(_fold(name))
    for meaning in meanings:
        if meaning in by_fold:
            return by_fold[meaning]
    for meaning in meanings:
        for fold, choice in by_fold.items():
            if _last(fold) == meaning:
                return choice
    return None


def spell_duration(word: str, number: object) -> str:
    """Spells a number that a word such as 'max_epochs' or 'steps' stands before: `'5 epochs'`."""
    return f"{number} {'epochs' if 'epoch' in _fold(word) else 'steps'}"


def _fold(name: str) -> str:
    return str(name).lower().replace("-", "_").strip("_ ")


def _last(path: str) -> str:
    return path.replace("/", ".").rpartition(".")[2]


def _meanings(name: str) -> list[str]:
    """Lists a name, and what its last part stands for: paths, or keys of the same section."""
    head, dot, word = name.rpartition(".")
    meant = _MEANT.get(word, [])
    last = [_last(path) for path in meant]
    return [name, *(f"{head}.{key}" for key in last)] if dot else [name, *meant, *last]


def _invert() -> dict[str, list[str]]:
    meant: dict[str, list[str]] = {}
    for name, words in _ELSEWHERE.items():
        for word in words.split():
            meant.setdefault(word, []).append(name)
    return meant


_MEANT = _invert()

NAMES = tuple(_ELSEWHERE)
"""The names of lepton_jax, paths of config keys among them, that have other words elsewhere."""
