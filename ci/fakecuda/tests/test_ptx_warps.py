"""How threads run together: divergence, warps, barriers, atomics, calls."""

import cupy
import numpy as np
import pytest
from ptx import launch, run

LANES = np.arange(32)
ALL = "0xffffffff"


def warp(body, *inputs, to="u4", **options):
    return run(body, *inputs, to=to, **({"block": 32} if not inputs else {}) | options)


# ------------------------------------------------------------------ divergence


def test_branches_meet_again():
    body = """
        mov.u32 %d, 0; and.b32 %r0, %i, 3; setp.eq.u32 %p, %r0, 0; @%p bra FIRST;
        add.u32 %d, %d, 10; bra BOTH;
        FIRST: add.u32 %d, %d, 20;
        BOTH: activemask.b32 %r1; popc.b32 %r1, %r1; add.u32 %d, %d, %r1;
    """
    np.testing.assert_array_equal(warp(body), np.where(LANES % 4, 42, 52))


def test_loops_of_different_lengths():
    body = """
        mov.u32 %d, 0; mov.u32 %r0, 0;
        LOOP: setp.ge.u32 %p, %r0, %i; @%p bra DONE;
        add.u32 %d, %d, %r0; add.u32 %r0, %r0, 1; bra LOOP;
        DONE: activemask.b32 %r1; setp.ne.u32 %p, %r1, 0xffffffff; @%p mov.u32 %d, 999;
    """
    np.testing.assert_array_equal(warp(body), LANES * (LANES - 1) // 2)


def test_table_of_branches():
    body = """
        and.b32 %r0, %i, 3;
        TABLE: .branchtargets L0, L1, L2, L3;
        brx.idx %r0, TABLE;
        L0: mov.u32 %d, 5; bra END;
        L1: mov.u32 %d, 6; bra END;
        L2: mov.u32 %d, 7; bra END;
        L3: mov.u32 %d, 8;
        END: add.u32 %d, %d, 0;
    """
    np.testing.assert_array_equal(warp(body), LANES % 4 + 5)


def test_guards():
    body = "setp.lt.u32 %p, %i, 7; mov.u32 %d, 1; @%p mov.u32 %d, 2; @!%p add.u32 %d, %d, 5;"
    np.testing.assert_array_equal(warp(body), np.where(LANES < 7, 2, 6))


def test_a_lock_between_lanes_of_a_warp():
    """The lane that has the lock must go on while the others try to get it."""
    counter = cupy.zeros(2, "u4")
    launch(
        """
        .visible .entry kernel(.param .u64 p) {
            .reg .b64 %x; .reg .b32 %r<4>; .reg .pred %p;
            ld.param.u64 %x, [p];
            TRY: atom.global.cas.b32 %r0, [%x], 0, 1;
            setp.ne.u32 %p, %r0, 0;
            @%p bra TRY;
            ld.volatile.global.u32 %r1, [%x+4];
            add.u32 %r1, %r1, 1;
            st.volatile.global.u32 [%x+4], %r1;
            membar.gl;
            atom.global.exch.b32 %r0, [%x], 0;
            ret;
        }""",
        counter,
        block=64,
        grid=2,
    )
    assert counter.tolist() == [0, 128]


def test_a_warp_that_waits_for_another():
    body = """
        .shared .align 4 .b32 flag[2];
        mov.u64 %l0, flag; setp.eq.u32 %p, %i, 0; @%p st.volatile.shared.u32 [flag], 0;
        bar.sync 0;
        setp.lt.u32 %p, %i, 32; @!%p bra GIVE;
        WAIT: ld.volatile.shared.u32 %d, [%l0]; setp.eq.u32 %p, %d, 0; @%p bra WAIT;
        bra END;
        GIVE: mov.u32 %d, 9; st.volatile.shared.u32 [flag], 9;
        END: add.u32 %d, %d, %i;
    """
    np.testing.assert_array_equal(run(body, to="u4", block=64), 9 + np.arange(64))


# ------------------------------------------------------------------ warps


@pytest.mark.parametrize(
    ("mode", "c", "source"),
    [
        ("idx.b32 %d|%p, %i, 5, 31", None, lambda i: 5),
        ("bfly.b32 %d|%p, %i, 16, 31", None, lambda i: i ^ 16),
        ("down.b32 %d|%p, %i, 3, 31", None, lambda i: i + 3 if i + 3 < 32 else i),
        ("up.b32 %d|%p, %i, 3, 0", None, lambda i: i - 3 if i >= 3 else i),
        ("down.b32 %d|%p, %i, 1, 0x181f", None, lambda i: i + 1 if i % 8 < 7 else i),
        ("idx.b32 %d|%p, %i, 2, 0x1c1f", None, lambda i: i // 4 * 4 + 2),
    ],
)
def test_shuffles(mode, c, source):
    body = f"shfl.sync.{mode}, {ALL}; selp.u32 %r0, 100, 0, %p; add.u32 %d, %d, %r0;"
    wanted = [source(i) + 100 * (source(i) != i or "idx" in mode) for i in range(32)]
    found = warp(body)
    np.testing.assert_array_equal(found % 100, [w % 100 for w in wanted])
    moved = np.array([source(i) != i for i in range(32)])
    assert (found[moved] >= 100).all()


def test_votes():
    for case, wanted in (
        ("all.pred %q, %p", 0),
        ("all.pred %q, !%p", 0),
        ("any.pred %q, %p", 1),
        ("uni.pred %q, %p", 0),
    ):
        body = f"setp.lt.u32 %p, %i, 3; vote.sync.{case}, {ALL}; selp.u32 %d, 1, 0, %q;"
        assert (warp(body) == wanted).all(), case
    body = f"setp.lt.u32 %p, %i, 3; vote.sync.ballot.b32 %d, %p, {ALL};"
    assert (warp(body) == 7).all()


def test_votes_of_halves_of_a_warp():
    """Lanes with different member masks vote apart, though they come together."""
    body = """
        setp.lt.u32 %p, %i, 16; selp.b32 %r0, 0x0000ffff, 0xffff0000, %p;
        and.b32 %r1, %i, 1; setp.eq.u32 %q, %r1, 0; vote.sync.ballot.b32 %d, %q, %r0;
    """
    np.testing.assert_array_equal(warp(body), np.where(LANES < 16, 0x5555, 0x55550000))


def test_matches_and_reductions():
    body = f"shr.u32 %r0, %i, 3; match.any.sync.b32 %d, %r0, {ALL};"
    np.testing.assert_array_equal(warp(body), 0xFF << LANES // 8 * 8)
    body = f"match.all.sync.b32 %d|%p, %n, {ALL}; @!%p mov.u32 %d, 1;"
    assert (warp(body) == 0xFFFFFFFF).all()
    wanted = {"add": 496, "min": 0, "max": 31, "and": 0, "or": 31, "xor": 0}
    for name, value in wanted.items():
        kind = "b32" if name in ("and", "or", "xor") else "s32"
        assert (warp(f"redux.sync.{name}.{kind} %d, %i, {ALL};") == value).all(), name


def test_lanes_wait_for_each_other():
    """Lanes come to the same shuffle by different ways, one long."""
    body = f"""
        mov.u32 %r0, %i; setp.lt.u32 %p, %i, 16; @%p bra MEET;
        mov.u32 %r1, 0;
        LOOP: add.u32 %r1, %r1, 1; setp.lt.u32 %q, %r1, %i; @%q bra LOOP;
        add.u32 %r0, %r0, 100;
        MEET: shfl.sync.bfly.b32 %d, %r0, 31, 31, {ALL};
    """
    other = LANES ^ 31
    np.testing.assert_array_equal(warp(body), np.where(other < 16, other, other + 100))


def test_bar_warp_sync_at_two_places():
    body = f"""
        setp.lt.u32 %p, %i, 16; @%p bra FIRST;
        bar.warp.sync {ALL}; mov.u32 %d, 1; bra END;
        FIRST: bar.warp.sync {ALL}; mov.u32 %d, 2;
        END: bar.warp.sync {ALL};
    """
    np.testing.assert_array_equal(warp(body), np.where(LANES < 16, 2, 1))


# ------------------------------------------------------------------ barriers


def test_barrier_between_warps():
    body = """
        .shared .align 4 .b32 all[256]; mov.u32 %r1, all;
        mad.lo.u32 %r2, %i, 4, %r1; st.shared.u32 [%r2], %i; bar.sync 0;
        sub.u32 %r0, 255, %i; mad.lo.u32 %r2, %r0, 4, %r1; ld.shared.u32 %d, [%r2];
    """
    np.testing.assert_array_equal(run(body, to="u4", block=256), np.arange(256)[::-1])


def test_barrier_that_reduces():
    prefix = "and.b32 %r0, %i, 3; setp.eq.u32 %p, %r0, 0;"
    assert (run(prefix + "bar.red.popc.u32 %d, 0, %p;", to="u4", block=100) == 25).all()
    body = prefix + "bar.red.and.pred %q, 0, %p; selp.u32 %d, 1, 0, %q;"
    assert (run(body, to="u4", block=100) == 0).all()
    body = prefix + "barrier.sync.aligned 3; bar.red.or.pred %q, 0, %p; selp.u32 %d, 1, 0, %q;"
    assert (run(body, to="u4", block=100) == 1).all()


def test_named_barriers():
    """Warp 0 gives, warp 1 takes; the third takes no part."""
    body = """
        .shared .align 4 .b32 box[32]; mov.u32 %r1, box; and.b32 %r2, %i, 31;
        mad.lo.u32 %r2, %r2, 4, %r1; mov.u32 %d, 0;
        setp.ge.u32 %p, %i, 64; @%p bra END;
        setp.ge.u32 %p, %i, 32; @%p bra TAKE;
        st.shared.u32 [%r2], %i; bar.arrive 1, 64; bra END;
        TAKE: bar.sync 1, 64; ld.shared.u32 %d, [%r2];
        END: add.u32 %d, %d, 1;
    """
    found = run(body, to="u4", block=96)
    np.testing.assert_array_equal(found, np.r_[np.ones(32), LANES + 1, np.ones(32)])


def test_order_of_blocks(monkeypatch):
    """FAKECUDA_ORDER=reversed: what depends on the order of blocks and warps shows."""
    text = """
        .visible .entry kernel(.param .u64 p) {
            .reg .b64 %x; .reg .b32 %r<4>;
            ld.param.u64 %x, [p]; mov.u32 %r0, %ctaid.x; mov.u32 %r1, %tid.x;
            mad.lo.u32 %r0, %r0, 64, %r1; st.global.u32 [%x], %r0; ret;
        }"""
    last = cupy.zeros(1, "u4")
    launch(text, last, grid=4, block=64)
    assert last.item() == 255
    monkeypatch.setenv("FAKECUDA_ORDER", "reversed")
    launch(text, last, grid=4, block=64)
    assert last.item() == 31


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize("space", ["global", "shared"])
@pytest.mark.parametrize(
    ("operation", "start", "wanted"),
    [
        ("add.u32", 5, 5 + 496),
        ("add.s32", -5, 496 - 5),
        ("add.u64", 2**40, 2**40 + 496),
        ("min.s32", 7, 0),
        ("max.u64", 7, 31),
        ("inc.u32", 0, 5),
        ("and.b32", 0xFF, 0),
        ("or.b32", 0x100, 0x11F),
        ("xor.b64", 1, 1),
        ("exch.b32", 7, 31),
        ("add.f32", 0.5, 496.5),
        ("add.f64", 0.25, 496.25),
        ("add.noftz.f16", 1, 497),
    ],
)
def test_atomics(operation, start, wanted, space):
    kind = operation.rpartition(".")[2]
    bits = int(kind[1:])
    dtype = {"f": "f", "s": "i"}.get(kind[0], "u") + str(bits // 8)
    memory = cupy.full(1, start, dtype)
    before = "cvt.rn.f16.u32 %v, %i;" if kind == "f16" else f"cvt.rn.{kind}.u32 %v, %i;"
    if kind[0] != "f":
        before = f"cvt.u{bits}.u32 %v, %i;"
    limit = "mov.u32 %v, 8;" if "inc" in operation else ""
    place = "%x" if space == "global" else "box"
    launch(
        f"""
        .visible .entry kernel(.param .u64 p) {{
            .reg .b64 %x; .reg .b32 %i; .reg .b{bits} %v, %old; .reg .pred %p;
            .shared .align 8 .b8 box[8];
            ld.param.u64 %x, [p]; mov.u32 %i, %tid.x; {before} {limit}
            setp.eq.u32 %p, %i, 0;
            @%p ld.global.b{bits} %old, [%x]; @%p st.shared.b{bits} [box], %old; bar.sync 0;
            atom.{space}.{operation} %old, [{place}], %v; bar.sync 0;
            @%p ld.shared.b{bits} %old, [box];
            {f"@%p st.global.b{bits} [%x], %old;" if space == "shared" else ""}
            ret;
        }}""",
        memory,
        block=32,
    )
    assert memory.item() == wanted


def test_vectors_and_widths():
    data = cupy.arange(64, dtype="u1")
    result = cupy.zeros(16, "i4")
    launch(
        """
        .visible .entry kernel(.param .u64 p, .param .u64 q) {
            .reg .b64 %x, %y; .reg .b32 %r<4>; .reg .b16 %h<4>;
            ld.param.u64 %x, [p]; ld.param.u64 %y, [q];
            ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%x+16];
            st.global.v4.b32 [%y], {%r0, %r1, %r2, %r3};
            ld.global.nc.v2.u8 {%h0, %h1}, [%x+62]; cvt.u32.u16 %r0, %h0; cvt.u32.u16 %r1, %h1;
            st.global.v2.u32 [%y+16], {%r0, %r1};
            mov.b32 %r0, -2; st.global.u8 [%x], %r0;
            ld.global.s8 %r0, [%x]; st.global.s32 [%y+24], %r0;
            ld.global.u8 %r0, [%x]; st.global.s32 [%y+28], %r0;
            ret;
        }""",
        data,
        result,
    )
    wanted = [*np.arange(16, 32, dtype="u1").view("i4").tolist(), 62, 63, -2, 254]
    assert result[:8].tolist() == wanted


def test_local_memory_and_generic_addresses():
    body = """
        .local .align 8 .b8 mine[16]; .shared .align 4 .b32 ours[32];
        mov.u64 %l0, mine; cvta.local.u64 %l1, %l0; st.local.u32 [%l0+8], %i;
        ld.u32 %d, [%l1+8];
        mov.u64 %l2, ours; cvta.shared.u64 %l3, %l2; mul.wide.u32 %l4, %i, 4;
        add.u64 %l3, %l3, %l4; st.u32 [%l3], %d; cvta.to.shared.u64 %l5, %l3;
        ld.shared.u32 %d, [%l5];
        isspacep.shared %p, %l3; @%p add.u32 %d, %d, 100;
        isspacep.local %p, %l1; @%p add.u32 %d, %d, 1000;
        isspacep.global %p, %l1; @%p add.u32 %d, %d, 10000;
    """
    np.testing.assert_array_equal(warp(body), LANES + 1100)


def test_variables_of_the_module():
    outside = """
        .global .align 4 .b32 counter = 7;
        .const .align 4 .f32 table[4] = {0f3F800000, 2.5, -3.0, 4.0};
        .global .align 8 .u64 pointer = generic(counter);
    """
    body = """
        mov.u64 %l0, table; and.b32 %r0, %i, 3; mul.wide.u32 %l1, %r0, 4; add.u64 %l0, %l0, %l1;
        ld.const.f32 %d, [%l0]; ld.global.u64 %l2, [pointer]; ld.u32 %r1, [%l2];
        cvt.rn.f32.u32 %r1, %r1; add.f32 %d, %d, %r1;
    """
    wanted = np.tile([8, 9.5, 4, 11], 8)
    np.testing.assert_array_equal(warp(body, to="f4", outside=outside), wanted)


def test_dynamic_shared_memory_lies_behind_the_static():
    outside = ".extern .shared .align 16 .b8 dynamic[];"
    body = """
        .shared .align 4 .b32 fixed[5]; st.shared.u32 [fixed+16], 77;
        mov.u32 %r0, dynamic; mad.lo.u32 %r1, %i, 4, %r0; st.shared.u32 [%r1], %i;
        bar.sync 0; ld.shared.u32 %r2, [fixed+16]; ld.shared.u32 %d, [%r1]; add.u32 %d, %d, %r2;
        mov.u32 %r3, %dynamic_smem_size; add.u32 %d, %d, %r3;
    """
    found = run(body, to="u4", block=32, outside=outside, shared=128)
    np.testing.assert_array_equal(found, LANES + 77 + 128)


# ------------------------------------------------------------------ calls


def test_calls_of_some_lanes_and_recursion():
    outside = """
        .func (.param .b32 result) factorial(.param .b32 n) {
            .reg .b32 %r<4>; .reg .pred %p;
            ld.param.u32 %r0, [n]; setp.lt.u32 %p, %r0, 2; @%p bra ONE;
            sub.u32 %r1, %r0, 1;
            { .param .b32 a; .param .b32 b; st.param.b32 [a], %r1;
              call.uni (b), factorial, (a); ld.param.b32 %r2, [b]; }
            mul.lo.u32 %r2, %r2, %r0; st.param.b32 [result], %r2; ret;
            ONE: st.param.b32 [result], 1; ret;
        }"""
    body = """
        mov.u32 %d, 0; setp.gt.u32 %p, %i, 12; @%p bra END;
        { .param .b32 a; .param .b32 b; st.param.b32 [a], %i;
          call (b), factorial, (a); ld.param.b32 %d, [b]; }
        END: add.u32 %d, %d, 0;
    """
    wanted = [int(np.prod(np.arange(1, i + 1))) if i <= 12 else 0 for i in LANES]
    np.testing.assert_array_equal(warp(body, outside=outside), wanted)


def test_printf(capfd):
    kernel = cupy.RawKernel(
        r"""extern "C" __global__ void kernel(double x) {
            printf("%d|%5.2f|%s|%-4c|%lld|%x|%%|%08.3e\n",
                   -3, x, "text", 'z', 123456789012345LL, 255u, x);
        }""",
        "kernel",
    )
    kernel((1,), (2,), (2.5,))
    cupy.cuda.runtime.deviceSynchronize()
    line = "-3| 2.50|text|z   |123456789012345|ff|%|2.500e+00"
    assert capfd.readouterr().out.splitlines() == [line, line]
