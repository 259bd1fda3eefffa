"""Model folders for other programs: GGUF for llama.cpp, a folder for Ollama, a plain Hugging Face copy."""

from jielong.export.gguf_file import GGUF_TYPES, write_gguf
from jielong.export.hf_folder import copy_hf_folder, copy_peft_folder
from jielong.export.ollama import write_ollama_folder

__all__ = ["GGUF_TYPES", "copy_hf_folder", "copy_peft_folder", "write_gguf", "write_ollama_folder"]
