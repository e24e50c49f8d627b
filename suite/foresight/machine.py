"""What a machine can do: effective rates, delays and links, with the software it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from suite.foresight.rehearsal import Rehearsed
from suite.foresight.units import Numbers


@dataclass(frozen=True)
class Link:
    """Delay and bandwidth of the way between two devices, for messages in one direction.

    Attributes:
        latency_s: Seconds of one hop of an empty message.
        bytes_s: Bytes a second of a long message.
    """

    latency_s: Numbers
    bytes_s: Numbers


@dataclass(frozen=True)
class Machine:
    """Effective constants of one machine; each was measured, or taken from a datasheet.

    Attributes:
        name: Name for people.
        product_flops_s: Rate that a large matrix product reaches, e_inf times the peak.
        ramp_s: Seconds in which the device fills and drains in every operation that it works off.
        narrow: Length of a matrix dimension at which half of the rate is lost.
        sixteen_bit_share: Rate of products that stay in 16 bit, over that of the others.
        attention_share: Rate of attention's products over that of others; of a fused kernel that
            skips what a causal mask hides it may exceed 1, since all scores are counted.
        stream_bytes_s: Rate of memory-bound operations.
        launch_s: Seconds in which the host starts one kernel or operation.
        inside: Link between devices of one node.
        between: Link of one device to another node: its share of the node's network cards.
        devices_per_node: Devices that share a node.
        memory_bytes: Memory of a device; 0 if unknown.
        curve_s: Seconds in which an activation function computes an element, beyond streaming it.
        norm_s: The same of a normalisation over rows.
        contention: One and the share of compute that is lost while the device communicates.
        call_slowdown: How many times as long a call takes while the device computes.
        step_s: Seconds a step that do not depend on the model, such as reading the loss.
        reserved_bytes: Memory that the framework takes for itself, without a model.
        synchronous: Whether the host computes itself, so that starting an operation and working
            it off follow each other, as on a CPU.
        hop: Link of a message between two devices, where it was measured by itself.
    """

    name: str
    product_flops_s: Numbers
    ramp_s: Numbers
    narrow: Numbers
    stream_bytes_s: Numbers
    launch_s: Numbers
    inside: Link
    between: Link
    devices_per_node: Numbers
    memory_bytes: Numbers
    sixteen_bit_share: Numbers = 1.0
    attention_share: Numbers = 1.0
    curve_s: Numbers = 0.0
    norm_s: Numbers = 0.0
    contention: Numbers = 1.05
    call_slowdown: Numbers = 1.0
    step_s: Numbers = 0.0
    reserved_bytes: Numbers = 0.0
    synchronous: bool = False
    hop: Link | None = None

    @property
    def half_flops(self) -> Numbers:
        """Work of one product at which half of the best rate is reached, F0 in FLOPs."""
        return self.product_flops_s * self.ramp_s


@dataclass(frozen=True)
class Software:
    """What the training program does, as its source or documentation says.

    Attributes:
        weight_bytes: Bytes of a parameter in the forward pass.
        gradient_bytes: Bytes of a gradient that is communicated.
        held_gradient_bytes: Bytes of a gradient that is held until the update.
        passing_gradient_bytes: Bytes of a gradient that a backward pass holds beside those until it
            ends, where they are added up in another format.
        bucket_bytes: Bytes of a parameter in buckets of its own in which replicas reduce gradients
            (PyTorch's DDP without ``gradient_as_bucket_view``), where nothing is sharded.
        gradients_pass: 1 where no gradient exists before its backward pass, as in a compiled step.
        sharded_weight_bytes: Bytes of a parameter's shard beside its master copy where parameters
            are sharded; 0 where the master copy is what is sharded, as in PyTorch's FSDP.
        gathers_ends: 1 where both ends of the model stay gathered from forward to backward pass, as
            what is left to the root of PyTorch's FSDP does.
        state_bytes: Bytes of a parameter's optimiser state and master copy.
        activation_bytes: Bytes of an element of an activation.
        logit_bytes: Bytes that the loss and its gradient hold of one logit, where they hold most.
        update_bytes: Bytes that the optimiser reads and writes for a parameter.
        attention_rate: Rate of its attention over that of other products, all scores counted,
            before anything is calibrated.
        attention_backward: Seconds of attention's backward pass over those of its forward pass.
        gather_copy_bytes: Bytes of a parameter that are read and written after it was gathered,
            where parameters are gathered together and each is copied to a tensor of its own.
        scatter_copy_bytes: The same of its gradient before it is scattered.
        overlaps_gradients: 1 where gradients are reduced while the backward pass goes on.
        overlaps_hidden_sums: Share of an intra-layer split's sums that is hidden behind products.
        blocking_hops: 1 where a device sends and receives between its passes and waits for both, as
            Megatron-LM and the suite's own pipelines do; 0 where hops run beside passes.
        steady_hops: 1 where an interleaved pipeline's hops run beside passes once it is full, and
            the device waits for them while it fills and drains.
        backward_launches: Launches of a backward pass over those of a forward pass.
        selective_outputs: Share of the products' outputs that selective recomputation keeps.
        selective_block_outputs: 1 where it keeps the output of a block's last product too.
        alternate_products: 1 where selective recomputation computes every second product of a block
            again, and no attention.
        selective_products: Share of a block's products, attention's not among them, that selective
            recomputation computes again beside attention.
        selective_blocks: Share of the blocks that selective recomputation computes again as a
            whole, where it does not choose within a block.
        first_calls: Calls in which gradients are reduced besides one for every ``call_bytes``.
        call_bytes: Bytes of gradients after which one more call is made.
        cuts_by_parameters: Whether stages are cut by parameters, the head's among them, as
            ``threshold_counts`` says.
    """

    weight_bytes: Numbers = 2.0
    gradient_bytes: Numbers = 2.0
    held_gradient_bytes: Numbers = 4.0
    passing_gradient_bytes: Numbers = 0.0
    bucket_bytes: Numbers = 0.0
    gradients_pass: Numbers = 0.0
    sharded_weight_bytes: Numbers = 2.0
    gathers_ends: Numbers = 0.0
    state_bytes: Numbers = 12.0
    activation_bytes: Numbers = 2.0
    logit_bytes: Numbers = 6.0
    update_bytes: Numbers = 34.0
    attention_rate: float = 1.0
    attention_backward: Numbers = 2.0
    gather_copy_bytes: Numbers = 0.0
    scatter_copy_bytes: Numbers = 0.0
    overlaps_gradients: Numbers = 0.0
    overlaps_hidden_sums: Numbers = 0.0
    blocking_hops: float = 1.0
    steady_hops: float = 0.0
    backward_launches: Numbers = 1.5
    selective_outputs: Numbers = 1.0
    selective_block_outputs: Numbers = 0.0
    alternate_products: Numbers = 0.0
    selective_products: Numbers = 0.0
    selective_blocks: Numbers = 0.0
    first_calls: Numbers = 1.0
    call_bytes: Numbers = float("inf")
    cuts_by_parameters: bool = False


FLOAT32 = Software(
    weight_bytes=4.0, gradient_bytes=4.0, held_gradient_bytes=4.0, state_bytes=8.0,
    sharded_weight_bytes=4.0, activation_bytes=4.0, logit_bytes=12.0, update_bytes=28.0,
    overlaps_gradients=1.0,
)


@dataclass(frozen=True)
class Stack:
    """A machine and the software on it: what constants are calibrated for.

    Attributes:
        machine: The machine.
        software: The program.
        rehearsed: Ways of splitting that were rehearsed on it with the model that is asked about.
    """

    machine: Machine
    software: Software = field(default_factory=Software)
    rehearsed: tuple[Rehearsed[Stack], ...] = ()
