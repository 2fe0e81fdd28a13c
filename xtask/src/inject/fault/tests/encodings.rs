//! Words whose meaning an assembler confirmed.

use proptest::prelude::*;

use super::super::a32::{self, Class};

/// A word, its name, destinations, sources, and base register.
type Known = (u32, &'static str, &'static [u32], &'static [u32], Option<u32>);

/// Words as the services' images hold them, and as an assembler made them.
const KNOWN: [Known; 56] = [
    (0xe1a0_0004, "mov", &[0], &[4], None),               // mov r0, r4
    (0xe3a0_1040, "mov", &[1], &[], None),                // mov r1, #64
    (0xe1a0_2653, "mov", &[2], &[3, 6], None),            // asr r2, r3, r6
    (0xe3e0_0000, "mvn", &[0], &[], None),                // mvn r0, #0
    (0xe305_c008, "movw", &[12], &[], None),              // movw ip, #20488
    (0xe340_01e0, "movt", &[0], &[], None),               // movt r0, #480
    (0xe08c_4003, "add", &[4], &[12, 3], None),           // add r4, ip, r3
    (0xe28d_b008, "add", &[11], &[13], None),             // add fp, sp, #8
    (0xe092_1314, "add", &[1], &[2, 4, 3], None),         // adds r1, r2, r4, lsl r3
    (0x1284_4001, "add", &[4], &[4], None),               // addne r4, r4, #1
    (0xe24e_1001, "sub", &[1], &[14], None),              // sub r1, lr, #1
    (0xe0c1_0002, "sbc", &[0], &[1, 2], None),            // sbc r0, r1, r2
    (0xe26c_0020, "rsb", &[0], &[12], None),              // rsb r0, ip, #32
    (0xe183_9407, "orr", &[9], &[3, 7], None),            // orr r9, r3, r7, lsl #8
    (0xe155_0001, "cmp", &[], &[5, 1], None),             // cmp r5, r1
    (0xe353_0c01, "cmp", &[], &[3], None),                // cmp r3, #256
    (0xe312_0003, "tst", &[], &[2], None),                // tst r2, #3
    (0xe132_0003, "teq", &[], &[2, 3], None),             // teq r2, r3
    (0xe00b_0391, "mul", &[11], &[3, 1], None),           // mul fp, r1, r3
    (0xe021_4392, "mla", &[1], &[4, 3, 2], None),         // mla r1, r2, r3, r4
    (0xe061_4392, "mls", &[1], &[4, 3, 2], None),         // mls r1, r2, r3, r4
    (0xe082_1493, "umull", &[2, 1], &[4, 3], None),       // umull r1, r2, r3, r4
    (0xe0a2_1493, "umlal", &[2, 1], &[4, 3], None),       // umlal r1, r2, r3, r4
    (0xe0e2_1493, "smlal", &[2, 1], &[4, 3], None),       // smlal r1, r2, r3, r4
    (0xe104_5786, "smla", &[4], &[5, 7, 6], None),        // smlabb r4, r6, r7, r5
    (0xe167_0783, "smul", &[7], &[7, 3], None),           // smulbb r7, r3, r7
    (0xe731_f413, "udiv", &[1], &[4, 3], None),           // udiv r1, r3, r4
    (0xe16f_2f13, "clz", &[2], &[3], None),               // clz r2, r3
    (0xe6ff_1f32, "rbit", &[1], &[2], None),              // rbit r1, r2
    (0xe6bf_1f32, "rev", &[1], &[2], None),               // rev r1, r2
    (0xe6ff_c477, "extend", &[12], &[7], None),           // uxth ip, r7, ror #8
    (0xe6ef_3074, "extend", &[3], &[4], None),            // uxtb r3, r4
    (0xe6f1_0072, "extend and add", &[0], &[1, 2], None), // uxtah r0, r1, r2
    (0xe681_0412, "pkh", &[0], &[1, 2], None),            // pkhbt r0, r1, r2, lsl #8
    (0xe661_0f12, "parallel add", &[0], &[1, 2], None),   // uqadd16 r0, r1, r2
    (0xe7e7_1452, "ubfx", &[1], &[2], None),              // ubfx r1, r2, #8, #8
    (0xe7c7_101f, "bfc", &[1], &[], None),                // bfc r1, #0, #8
    (0xe7c7_1012, "bfi", &[1], &[2], None),               // bfi r1, r2, #0, #8
    (0xe59c_e108, "ldr", &[14], &[], Some(12)),           // ldr lr, [ip, #264]
    (0xe792_1101, "ldr", &[1], &[], Some(2)),             // ldr r1, [r2, r1, lsl #2]
    (0xe4d0_3001, "ldrb", &[3], &[], Some(0)),            // ldrb r3, [r0], #1
    (0xe58c_1108, "str", &[], &[1], Some(12)),            // str r1, [ip, #264]
    (0xe7c2_1003, "strb", &[], &[1], Some(2)),            // strb r1, [r2, r3]
    (0xe1d1_20b4, "ldrh", &[2], &[], Some(1)),            // ldrh r2, [r1, #4]
    (0xe18c_40b3, "strh", &[], &[4], Some(12)),           // strh r4, [ip, r3]
    (0xe1d1_20d4, "ldrsb", &[2], &[], Some(1)),           // ldrsb r2, [r1, #4]
    (0xe1d1_20f4, "ldrsh", &[2], &[], Some(1)),           // ldrsh r2, [r1, #4]
    (0xe1c4_20d8, "ldrd", &[2], &[], Some(4)),            // ldrd r2, r3, [r4, #8]
    (0xe1c4_20f8, "strd", &[], &[2], Some(4)),            // strd r2, r3, [r4, #8]
    (0xe191_0f9f, "ldrex", &[0], &[], Some(1)),           // ldrex r0, [r1]
    (0xe181_3f92, "strex", &[3], &[2], Some(1)),          // strex r3, r2, [r1]
    (0xe894_001e, "ldm", &[], &[], Some(4)),              // ldm r4, {r1, r2, r3, r4}
    (0xe8a2_00d8, "stm", &[], &[], Some(2)),              // stmia r2!, {r3, r4, r6, r7}
    (0xef00_0000, "svc", &[], &[], None),                 // svc #0
    (0xe12f_ff1e, "bx", &[], &[], None),                  // bx lr
    (0x1aff_fff2, "b", &[], &[], None),                   // bne .-48
];

#[test]
fn fields_are_those_that_the_manual_names() {
    for (word, name, destinations, sources, base) in KNOWN {
        let encoding = a32::decode(word).expect(name);
        let registers = |mask| {
            let mut named: Vec<u32> = a32::fields(mask).map(|shift| a32::field(word, shift)).collect();
            named.sort_unstable();
            named
        };
        let sorted = |registers: &[u32]| {
            let mut registers = registers.to_vec();
            registers.sort_unstable();
            registers
        };
        assert_eq!(encoding.name, name, "{word:#010x}");
        assert_eq!(registers(encoding.destinations), sorted(destinations), "{word:#010x} {name}");
        assert_eq!(registers(encoding.sources), sorted(sources), "{word:#010x} {name}");
        assert_eq!((encoding.address != 0).then(|| a32::field(word, 16)), base, "{word:#010x} {name}");
        assert!(a32::predictable(word), "{word:#010x} {name}");
    }
}

#[test]
fn what_is_no_a32_instruction_has_no_encoding() {
    // dmb, cps, clrex; not allocated: parallel arithmetic of no sort, a test that sets no flags.
    for word in [0xf57f_f05f, 0xf102_0017, 0xf57f_f01f, 0xe601_0f12, 0xe122_0413] {
        assert_eq!(a32::decode(word), None, "{word:#010x}");
        assert!(!a32::predictable(word) && a32::branches(word), "{word:#010x}");
    }
}

#[test]
fn written_registers() {
    for (word, written) in [
        (0xe92d_4830, 1 << 13),                                       // push {r4, r5, fp, lr}
        (0xe8bd_8830, 1 << 13 | 1 << 15 | 1 << 11 | 1 << 5 | 1 << 4), // pop {r4, r5, fp, pc}
        (0xe4d0_3001, 0b1001),                                        // ldrb r3, [r0], #1
        (0xe5b0_3004, 0b1001),                                        // ldr r3, [r0, #4]!
        (0xe590_3004, 0b1000),                                        // ldr r3, [r0, #4]
        (0xe1c4_20d8, 0b1100),                                        // ldrd r2, r3, [r4, #8]
        (0xe181_3f92, 0b1000),                                        // strex r3, r2, [r1]
        (0xeb00_0000, 1 << 14),                                       // bl
        (0xe155_0001, 0),                                             // cmp r5, r1
        (0xe08f_f18c, 1 << 15),                                       // add pc, pc, ip, lsl #3
        (0xe082_1493, 0b110),                                         // umull r1, r2, r3, r4
    ] {
        assert_eq!(a32::written(word), written, "{word:#010x}");
    }
}

#[test]
fn branches_go_where_the_assembler_says() {
    assert_eq!(a32::branch_target(0x1aff_fff2, 0x1_138c), Some(0x1_135c));
    assert_eq!(a32::branch_target(0xeb00_04a5, 0x1_13d0), Some(0x1_266c));
    assert_eq!(a32::branch_target(a32::SELF_BRANCH, 0x8000), Some(0x8000));
    assert_eq!(a32::branch_target(0xe12f_ff1e, 0x8000), None);
    for branch in [0x1aff_fff2, 0xeb00_04a5, 0xe12f_ff1e, 0xef00_0000, 0xe8bd_8830, 0xe08f_f18c, 0xe59f_f004] {
        assert!(a32::branches(branch), "{branch:#010x}");
    }
    for other in [0xe92d_4830, 0xe155_0001, 0xe59c_e108, a32::NOP] {
        assert!(!a32::branches(other), "{other:#010x}");
    }
}

#[test]
fn unpredictable_combinations() {
    for word in [
        0xe4d0_0001,             // ldrb r0, [r0], #1: the base is what is loaded
        0xe5bf_0004,             // ldr r0, [pc, #4]!: the program counter is changed as a base
        0xe79f_100f,             // ldr r1, [pc, pc]
        0xe1c4_30d8,             // ldrd r3, r4: an odd register
        0xe1c4_e0d8,             // ldrd lr, pc
        0xe1c4_40fc - (1 << 24), // strd r4, r5, [r4], #12
        0xe082_2493,             // umull r2, r2, r3, r4
        0xe00f_0391,             // mul pc, r1, r3
        0xe1a0_265f,             // asr r2, pc, r6
        0xe181_1f92,             // strex r1, r2, [r1]
        0xe181_2f92,             // strex r2, r2, [r1]
        0xe8b4_001e,             // ldm r4!, {r1, r2, r3, r4}
        0xe89f_001e,             // ldm pc, {r1, r2, r3, r4}
        0xe7e7_f452,             // ubfx pc, r2, #8, #8
    ] {
        assert!(a32::decode(word).is_some() && !a32::predictable(word), "{word:#010x}");
    }
}

proptest! {
    #[test]
    fn every_word_can_be_looked_at(word: u32, shift in prop::sample::select(&[0u32, 8, 12, 16][..]), register in 0u32..16) {
        let replaced = a32::with_field(word, shift, register);
        prop_assert_eq!(a32::field(replaced, shift), register);
        prop_assert_eq!((replaced ^ word) & !(0xf << shift), 0);
        prop_assert!(a32::written(word) <= 0xffff);
        match a32::decode(word) {
            None => prop_assert!(!a32::predictable(word) && a32::branches(word)),
            Some(encoding) => {
                let fields = encoding.sources | encoding.destinations;
                prop_assert_eq!(fields & !(a32::AT_16 | a32::AT_12 | a32::AT_8 | a32::AT_0), 0);
                let transfers = !matches!(encoding.class, Class::Process | Class::Compute | Class::Other);
                prop_assert_eq!(encoding.address & a32::AT_16 == a32::AT_16, transfers);
                prop_assert_eq!(encoding.class == Class::Other && fields | encoding.address != 0, false);
            }
        }
    }
}
