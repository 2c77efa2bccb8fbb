"""What the baselines share. A file per subject; nothing here knows a label or a metric.

weight_files    the four pretrained files: names, hashes, addresses (standard library only)
backbones       pretrained or random feature extractors
anomalib_parts  single network files of anomalib, without its Lightning engine
determinism     seeds, threads, deterministic algorithms
images          decoding, resizing, normalising; the training split in memory
precision       mixed precision, channels-last and fused optimisers on a GPU
kept_features   features of a frozen backbone, computed once for all passes
upsampling      twice the sides, with a deterministic gradient on a GPU
colour          jitter of brightness, contrast, saturation and hue; luma
autoencoders    an autoencoder of small images, and what reconstructing entries share
settings        hyper-parameters that are words
training        the one training loop: phases, progress, checkpoints, early stop, resuming
perlin          noise, and masks of it
patches         patch descriptors from feature maps
memory_bank     nearest neighbours in a bank of vectors
maps            blur, resize, array of the image's own size
saved           trained tensors to disk and back
synthetic_anomalies  textures pasted into normal images
trivial         one number per image: what a method must beat (numpy alone)
"""
