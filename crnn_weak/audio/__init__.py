"""Audio files: find them, read them to their end as mono at one rate, write them."""

from crnn_weak.audio.files import AUDIO_SUFFIXES, STDIN, AudioBlocks, audio_files, load_clip, read_header, write_audio

__all__ = ["AUDIO_SUFFIXES", "STDIN", "AudioBlocks", "audio_files", "load_clip", "read_header", "write_audio"]
