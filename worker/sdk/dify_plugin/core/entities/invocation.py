"""The kinds of calls back to Dify."""

from __future__ import annotations

from enum import Enum

__all__ = ["InvokeType"]


class InvokeType(Enum):
    """What is called."""

    Tool = "tool"
    LLM = "llm"
    LLMStructuredOutput = "llm_structured_output"
    TextEmbedding = "text_embedding"
    MultimodalEmbedding = "multimodal_embedding"
    Rerank = "rerank"
    MultimodalRerank = "multimodal_rerank"
    TTS = "tts"
    Speech2Text = "speech2text"
    Moderation = "moderation"
    NodeParameterExtractor = "node_parameter_extractor"
    NodeQuestionClassifier = "node_question_classifier"
    App = "app"
    Storage = "storage"
    UploadFile = "upload_file"
    SYSTEM_SUMMARY = "system_summary"
    FetchApp = "fetch_app"
