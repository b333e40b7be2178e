"""Bytes that real engines sent, identifiers replaced: what the parser is tested on."""

# llama.cpp (xllamacpp 2026.10): 4 tokens, the prompt sent for the second time.
LLAMA_CPP_STREAM = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":'
    b'null}}],"created":1795432476,"id":"chatcmpl-recorded","model":"tiny-random-llama","syste'
    b'm_fingerprint":"b0-unknown","object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"er"}}],"created":1'
    b'795432476,"id":"chatcmpl-recorded","model":"tiny-random-llama","system_fingerprint":"b0-'
    b'unknown","object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"f"}}],"created":17'
    b'95432476,"id":"chatcmpl-recorded","model":"tiny-random-llama","system_fingerprint":"b0-u'
    b'nknown","object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"llow"}}],"created"'
    b':1795432476,"id":"chatcmpl-recorded","model":"tiny-random-llama","system_fingerprint":"b'
    b'0-unknown","object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" inserts"}}],"crea'
    b'ted":1795432476,"id":"chatcmpl-recorded","model":"tiny-random-llama","system_fingerprint'
    b'":"b0-unknown","object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795432476,'
    b'"id":"chatcmpl-recorded","model":"tiny-random-llama","system_fingerprint":"b0-unknown","'
    b'object":"chat.completion.chunk"}\n\n'
    b'data: {"choices":[],"created":1795432476,"id":"chatcmpl-recorded","model":"tiny-random-l'
    b'lama","system_fingerprint":"b0-unknown","object":"chat.completion.chunk","usage":{"compl'
    b'etion_tokens":4,"prompt_tokens":38,"total_tokens":42,"prompt_tokens_details":{"cached_to'
    b'kens":37}},"timings":{"cache_n":37,"prompt_n":1,"prompt_ms":0.282,"prompt_per_token_ms":'
    b'0.282,"prompt_per_second":3546.0992907801424,"predicted_n":4,"predicted_ms":0.403,"predi'
    b'cted_per_token_ms":0.13433333333333333,"predicted_per_second":7444.168734491315}}\n\n'
    b"data: [DONE]\n\n"
)

# Status 400: the prompt is longer than the context.
LLAMA_CPP_PROMPT_TOO_LONG = (
    b'{"error":{"code":400,"message":"request (1233 tokens) exceeds the available context size'
    b' (256 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":1'
    b'233,"n_ctx":256}}'
)
