"""Every field of a configuration, with its meaning. Other configs start from here and change it.

A field that holds `unset(type)` is None until it is given: the default of the component that reads it then applies
(it stands in that component's signature and docstring), or the feature is off. A field that is set although nothing
reads it is refused.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder as unset

from vae_jax.config import parse_arg
from vae_jax.errors import ConfigError


def get_config() -> ConfigDict:
    """Return the defaults: a VAE with one hidden layer of 500 units on the embedded digits."""
    config = ConfigDict()
    config.seed = 0  # parameters and noise

    config.data = ConfigDict()
    config.data.name = "digits"  # a source of vae_jax/data/sources/; `scripts/data.py list` tells of each
    config.data.dataset = unset(str)  # of the sources tfds and huggingface: the name there
    config.data.subset = unset(str)  # of omniglot28 and huggingface
    config.data.size = unset(tuple)  # of pictures of any size: (height, width) or (side,) to bring them to
    config.data.fit = unset(str)  # how: crop, pad or stretch
    config.data.channels = unset(int)  # 1 for gray, 3 for colour
    config.data.on_error = unset(str)  # stop or skip where a picture cannot be read or does not fit
    config.data.validation = unset(float)  # share of the pictures, where the data have no such split
    config.data.test = unset(float)
    config.data.pixels = "unit"  # a function of vae_jax/data/pixels.py: unit, uint8, threshold, static, dynamic
    config.data.seed = 0  # order of the batches, and what is drawn for pixels and corruptions
    config.data.memory_mb = 1024.0  # sets up to this size, as stored, live on the devices; larger ones are streamed
    config.data.workers = 0  # processes that read ahead for a streamed set; 0 for threads
    config.data.pairs = unset(int)  # factors in which a picture and its partner differ, 0 for any number: for ada_gvae
    config.data.corruption = ConfigDict()  # what the encoder sees instead of the picture (vae_jax/data/corruptions.py)
    config.data.corruption.name = unset(str)
    config.data.corruption.scale = unset(float)
    config.data.corruption.probability = unset(float)
    config.data.corruption.size = unset(int)
    config.data.corruption.sigma = unset(float)
    config.data.augmentation = ConfigDict()  # other pictures of the same, in training (vae_jax/data/augmentations.py)
    config.data.augmentation.name = unset(str)
    config.data.augmentation.scale = unset(float)
    config.data.augmentation.epochs = unset(int)  # for how many epochs

    config.model = ConfigDict()
    config.model.name = "vae"  # a file of vae_jax/models/
    config.model.latent = 2  # D, the size of the code
    config.model.num_samples = unset(int)  # K, draws of z per example in training
    config.model.condition = unset(bool)  # give the label to encoder and decoder
    config.model.encoder = ConfigDict()  # a function of vae_jax/nn/encoders.py
    config.model.encoder.name = "mlp"
    config.model.encoder.hidden = (500,)  # widths of the dense layers; () for none
    config.model.encoder.activation = unset(str)
    config.model.encoder.channels = unset(tuple)  # of the convolutions, one per layer
    config.model.encoder.kernel = unset(int)
    config.model.encoder.stride = unset(int)
    config.model.encoder.patch = unset(int)  # of the mixer: side of a patch
    config.model.encoder.width = unset(int)  # features of a patch
    config.model.encoder.depth = unset(int)  # blocks
    config.model.decoder = ConfigDict()  # what is unset mirrors the encoder
    config.model.decoder.name = unset(str)
    config.model.decoder.hidden = unset(tuple)
    config.model.decoder.activation = unset(str)
    config.model.decoder.channels = unset(tuple)
    config.model.decoder.kernel = unset(int)
    config.model.decoder.stride = unset(int)
    config.model.decoder.patch = unset(int)
    config.model.decoder.width = unset(int)
    config.model.decoder.depth = unset(int)
    config.model.likelihood = ConfigDict()  # p(x|z), a function of vae_jax/prob/likelihoods/
    config.model.likelihood.name = unset(str)
    config.model.likelihood.scale = unset(float)
    config.model.likelihood.min_scale = unset(float)
    config.model.likelihood.num_components = unset(int)  # of a mixture
    config.model.distance = ConfigDict()  # of a plain autoencoder or BEGAN, a function of vae_jax/prob/distances.py
    config.model.distance.name = unset(str)
    config.model.objective = ConfigDict()  # a function of vae_jax/objectives/
    config.model.objective.name = unset(str)
    config.model.objective.num_groups = unset(int)  # of the K draws: a bound each
    config.model.objective.kernel = unset(str)  # rbf or imq
    config.model.objective.estimator = unset(str)  # of the density of all codes
    config.model.posterior = ConfigDict()  # q(z|x), a function of vae_jax/nn/posteriors.py
    config.model.posterior.name = unset(str)
    config.model.posterior.depth = unset(int)  # of a flow: its layers
    config.model.posterior.width = unset(int)  # and the units in each
    config.model.posterior.categories = unset(int)  # of a one-hot part of the code
    config.model.posterior.temperature = unset(float)
    config.model.prior = ConfigDict()  # p(z), a function of vae_jax/nn/priors.py
    config.model.prior.name = unset(str)
    config.model.prior.components = unset(int)  # of a mixture
    config.model.prior.depth = unset(int)  # of a flow
    config.model.prior.width = unset(int)
    config.model.prior.categories = unset(int)
    config.model.quantizer = ConfigDict()  # of a discrete code, a function of vae_jax/nn/quantizers.py
    config.model.quantizer.name = unset(str)
    config.model.quantizer.codes = unset(int)  # entries of a codebook
    config.model.quantizer.depth = unset(int)  # codebooks, one after another
    config.model.quantizer.decay = unset(float)  # of the moving averages that a codebook follows
    config.model.quantizer.levels = unset(tuple)  # of each number, without a codebook
    config.model.regularizer = ConfigDict()  # of an autoencoder, a function of vae_jax/regularizers.py
    config.model.regularizer.name = unset(str)
    config.model.regularizer.kernel = unset(str)
    config.model.regularizer.num_directions = unset(int)
    config.model.discriminator = ConfigDict()  # of an adversary, a function of vae_jax/nn/encoders.py
    config.model.discriminator.name = unset(str)
    config.model.discriminator.hidden = unset(tuple)
    config.model.discriminator.activation = unset(str)
    config.model.discriminator.channels = unset(tuple)
    config.model.discriminator.kernel = unset(int)
    config.model.discriminator.stride = unset(int)
    config.model.discriminator.patch = unset(int)
    config.model.discriminator.width = unset(int)
    config.model.discriminator.depth = unset(int)
    config.model.spectral_norm = unset(bool)  # of an autoencoder: divide each matrix of the decoder by its norm
    config.model.positions = unset(int)  # of a discrete code: how many entries of a codebook a picture is
    config.model.prior_depth = unset(int)  # blocks of the autoregressive prior of such a code
    config.model.prior_width = unset(int)
    config.model.above = unset(tuple)  # of a ladder: how many of the latents are in each layer above the lowest
    config.model.components = unset(int)  # clusters of a VaDE
    config.model.width = unset(int)  # units of the dense layers between those of its latents
    config.model.depth = unset(int)  # coupling layers of a flow of pictures

    config.hypers = ConfigDict()  # scalars that are traced, so that members of a sweep share one program
    config.hypers.learning_rate = 1e-3
    config.hypers.beta = unset(float)  # weight of the KL divergence
    config.hypers.kl_warmup_epochs = unset(float)  # linear rise of that weight from 0
    config.hypers.pretrain_epochs = unset(float)  # as an autoencoder, before a prior is fitted to its codes
    config.hypers.weight_decay = unset(float)
    config.hypers.gamma = unset(float)  # BEGAN's diversity ratio: error on samples over error on data, at balance
    config.hypers.k_rate = unset(float)  # by which BEGAN's k follows the balance of its players
    config.hypers.kl_cycle_epochs = unset(float)  # length of a cycle of the weight of the KL divergence
    config.hypers.capacity = unset(float)  # nats that the KL divergence is held at, at last
    config.hypers.capacity_epochs = unset(float)  # linear rise of the capacity from 0
    config.hypers.discrete_capacity = unset(float)  # the same for the one-hot part of a code
    config.hypers.free_bits = unset(float)  # nats of the KL divergence that cost nothing
    config.hypers.alpha = unset(float)  # order of the Renyi divergence
    config.hypers.elbo_share = unset(float)  # of the plain bound in a mean of two bounds
    config.hypers.tc_weight = unset(float)  # of the total correlation, as a discriminator tells it
    config.hypers.prior_weight = unset(float)  # of the distance between all codes and the prior
    config.hypers.dip_diagonal = unset(float)  # of the variances of all codes
    config.hypers.dip_off_diagonal = unset(float)  # of their covariances
    config.hypers.adversary_weight = unset(float)  # of an adversary in the loss of an encoder or a decoder
    config.hypers.sparsity_weight = unset(float)
    config.hypers.activity = unset(float)  # of a unit of a sparse code, wanted on the mean
    config.hypers.contraction_weight = unset(float)
    config.hypers.code_weight = unset(float)  # of the squares of a code
    config.hypers.decoder_weight = unset(float)  # of the squares of a decoder's parameters
    config.hypers.gradient_weight = unset(float)  # of the squares of a decoder's gradient
    config.hypers.commitment = unset(float)  # of an encoder to the entries of its codebook

    config.optimizer = ConfigDict()  # a function of vae_jax/training/optimizers.py
    config.optimizer.name = "adam"
    config.optimizer.b1 = unset(float)
    config.optimizer.b2 = unset(float)
    config.optimizer.eps = unset(float)
    config.optimizer.momentum = unset(float)

    config.schedule = ConfigDict()  # of the learning rate, a function of vae_jax/training/schedules.py
    config.schedule.name = "constant"
    config.schedule.warmup_epochs = unset(float)
    config.schedule.final_fraction = unset(float)

    config.train = ConfigDict()
    config.train.batch_size = 128
    config.train.epochs = 10
    config.train.steps_per_call = 200  # steps in one call of the compiled program; also one row of metrics.jsonl
    config.train.eval_every_epochs = 1  # on the validation split, and once at the end
    config.train.patience_epochs = unset(int)  # stop when validation has not improved for so long
    config.train.halve_patience_epochs = unset(int)  # halve the learning rate when training has stalled for so long
    config.train.select = "best"  # parameters that are tested and sampled from: best on validation, or last
    config.train.clip_norm = unset(float)  # largest global gradient norm
    config.train.ema_decay = unset(float)  # evaluate an exponential moving average of the parameters
    config.train.precision = unset(str)  # of the products in a step: fp32, or bf16 with float32 sums; unset for fp32
    config.train.shard_params = unset(bool)  # each device holds a part of large parameters and their optimizer state

    config.checkpoint = ConfigDict()
    config.checkpoint.keep = 2
    config.checkpoint.every_seconds = 60.0

    config.evaluate = ConfigDict()
    config.evaluate.batch_size = 500
    config.evaluate.num_importance_samples = 100  # k of the test -log p(x) at the end of a run
    config.evaluate.precision = unset(str)  # of the products in the losses and -log p(x) of validation and test
    return config


def apply_variant(config: ConfigDict, arg: str, variants: dict, default: str) -> bool:
    """Apply the variant that the argument of a config names; return whether it asks for a run of seconds (runlocal)."""
    choice = parse_arg(arg, variant=default, runlocal=False)
    if choice["variant"] not in variants:
        raise ConfigError(f"variant {choice['variant']!r} is unknown; known: {', '.join(variants)}")
    variants[choice["variant"]](config)
    return choice["runlocal"]


def set_vae(config: ConfigDict, likelihood: str = "bernoulli") -> ConfigDict:
    """Make the model a VAE trained on the ELBO."""
    config.model.name = "vae"
    config.model.likelihood.name = likelihood
    config.model.objective.name = "elbo"
    config.model.posterior.name = "diagonal"
    config.model.prior.name = "standard_normal"
    config.hypers.beta = 1.0
    config.hypers.kl_warmup_epochs = 0.0
    return config


def set_zoo(config: ConfigDict) -> ConfigDict:
    """Give the variants of the zoo one set, one network and one schedule: static binarized MNIST, 784-200-200-40."""
    config.data.name = "binarized_mnist"
    config.model.latent = 40
    config.model.encoder.hidden = (200, 200)
    config.model.encoder.activation = "tanh"
    config.schedule.name = "warmup_cosine"
    config.train.batch_size = 100
    config.train.epochs = 20
    config.train.eval_every_epochs = 2
    config.evaluate.num_importance_samples = 200
    return config


def set_gray_vae(config: ConfigDict) -> ConfigDict:
    """Make the model a VAE of pixels between 0 and 1, whose likelihood is a density: Gaussian, one learned scale."""
    return set_vae(config, "gaussian_shared_scale")


def shorten(config: ConfigDict) -> None:
    """Make it a run of seconds."""
    config.train.epochs = config.train.eval_every_epochs = 2
    if config.hypers.kl_warmup_epochs is not None:
        config.hypers.kl_warmup_epochs = min(config.hypers.kl_warmup_epochs, 1.0)
    config.evaluate.num_importance_samples = 10


def set_autoencoder(config: ConfigDict, distance: str = "mse") -> ConfigDict:
    """Make the model a plain autoencoder trained on a distance between x and x*."""
    config.model.name = "autoencoder"
    config.model.distance.name = distance
    for unused in ("likelihood", "objective", "posterior", "prior"):
        for field in config.model[unused]:
            config.model[unused][field] = None
    config.hypers.beta = config.hypers.kl_warmup_epochs = None
    return config


def set_began(config: ConfigDict, gamma: float, distance: str = "mae") -> ConfigDict:
    """Make the model a BEGAN with its paper's Adam; the last parameters are kept.

    k follows faster than in the paper (1e-3), for runs are shorter here.
    """
    set_autoencoder(config, distance)
    config.model.name = "began"
    config.hypers.gamma = gamma
    config.hypers.k_rate = 0.1
    config.optimizer.b1 = 0.5
    config.train.select = "last"
    return config
