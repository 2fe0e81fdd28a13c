//! Queues and transports against a modelled device, which reads what a real one would.

mod model;

use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

use crate::{Absent, Buffer, Checked, Fault, Layout, PAGE, Queue, Shadow, Window};
use model::Bus;

const LAYOUT: Layout = Layout::new(2);

fn connect(legacy: bool) -> (Bus, Checked<Bus>, Window) {
    let bus = Bus::new(legacy, 2, 16);
    let (transport, window) = Checked::new(bus.clone(), DeviceType::Block, LAYOUT).expect("a block device");
    (bus, transport, window)
}

fn set_up(legacy: bool) -> (Bus, Checked<Bus>, Window, Queue<16>) {
    let (bus, mut transport, window) = connect(legacy);
    let queue = Queue::new(&mut transport, 0).expect("a queue");
    (bus, transport, window, queue)
}

/// Doubles each byte that it reads into what it writes.
fn serve(bus: &Bus, queue: usize) -> Option<u16> {
    let mut device = bus.0.borrow_mut();
    let (head, parts) = device.next(queue)?;
    let mut bytes: VecDeque<u8> =
        parts.iter().filter(|part| !part.2).flat_map(|(at, len, _)| device.bytes(*at, *len)).collect();
    let mut written = 0;
    for (at, len, _) in parts.iter().filter(|part| part.2) {
        let answer: Vec<u8> = (0..*len).map_while(|_| bytes.pop_front()).map(|byte| byte.wrapping_mul(2)).collect();
        device.put(*at, &answer);
        written += answer.len() as u32;
    }
    device.finish(queue, head, written);
    Some(head)
}

#[test]
fn requests_go_out_and_come_back_on_both_interfaces() {
    for legacy in [true, false] {
        let (bus, mut transport, mut window, mut queue) = set_up(legacy);
        assert_eq!(transport.is_legacy(), legacy);
        let mut read = window.take(100, 4).expect("room");
        let mut write = window.take(100, 4).expect("room");
        // Round the rings, whose indices have 16 bits, more than once.
        for round in 0..70_000u32 {
            read.bytes_mut().fill(round as u8);
            let token = queue.submit(&mut transport, vec![read], vec![write]).expect("it is free");
            assert!(queue.finished(&mut transport).expect("sound").is_none());
            assert_eq!(serve(&bus, 0), Some(token));
            let mut done = queue.finished(&mut transport).expect("sound").expect("finished");
            assert_eq!((done.token, done.written), (token, 100));
            (read, write) = (done.read.remove(0), done.write.remove(0));
            assert!(write.bytes().iter().all(|byte| *byte == (round as u8).wrapping_mul(2)));
            assert_eq!(queue.free(), 16);
        }
        assert_eq!(bus.0.borrow().notified.len(), 70_000);
        // The same buffers in the same descriptors: the kernel is asked once.
        assert_eq!(bus.0.borrow().described, 2);
    }
}

#[test]
fn requests_may_finish_in_another_order() {
    for legacy in [true, false] {
        let (bus, mut transport, mut window, mut queue) = set_up(legacy);
        let mut tokens = Vec::new();
        for number in 0..5u8 {
            let mut parts: Vec<Buffer> = (0..3).map(|_| window.take(10, 1).expect("room")).collect();
            parts[0].bytes_mut().fill(number);
            parts[1].bytes_mut().fill(number + 100);
            let write = vec![parts.pop().expect("three")];
            tokens.push(queue.submit(&mut transport, parts, write).expect("it is free"));
        }
        assert_eq!(queue.free(), 1);
        let two: Vec<Buffer> = (0..2).map(|_| window.take(1, 1).expect("room")).collect();
        let refused = queue.submit(&mut transport, two, vec![]).expect_err("it is full");
        assert!(refused.fault.is_none() && refused.read.len() == 2);
        let heads: Vec<_> = (0..5).map(|_| bus.0.borrow_mut().next(0).expect("available")).collect();
        for (head, parts) in heads.into_iter().rev() {
            let mut device = bus.0.borrow_mut();
            let byte = device.bytes(parts[0].0, 1)[0];
            assert_eq!(device.bytes(parts[1].0, 10), [byte + 100; 10]);
            device.put(parts[2].0, &[byte; 10]);
            device.finish(0, head, 10);
        }
        for number in (0..5u8).rev() {
            let done = queue.finished(&mut transport).expect("sound").expect("finished");
            assert_eq!((done.token, done.write[0].bytes()), (tokens[usize::from(number)], &[number; 10][..]));
        }
        assert!(queue.finished(&mut transport).expect("sound").is_none());
    }
}

#[test]
fn a_driver_of_the_library_runs_on_it() {
    for legacy in [true, false] {
        let bus = Bus::new(legacy, 1, 16);
        bus.0.borrow_mut().configuration = [&[2, 4, 6, 8, 10, 12][..], &[1, 0, 1, 0]].concat();
        let (transport, mut window) = Checked::new(bus.clone(), DeviceType::Network, LAYOUT).expect("a card");
        let mut card = VirtIONetRaw::<Shadow, _, 16>::new(transport).expect("it starts");
        assert_eq!(card.mac_address(), [2, 4, 6, 8, 10, 12]);
        let mut incoming = window.take(2048, 16).expect("room");
        let outgoing = window.take(2048, 16).expect("room");
        for round in 0..40u8 {
            #[allow(unsafe_code)]
            // SAFETY: neither buffer is touched until it is complete.
            let tokens = unsafe { (card.receive_begin(incoming.bytes_mut()), card.transmit_begin(outgoing.bytes())) };
            let (receive, transmit) = (tokens.0.expect("free"), tokens.1.expect("free"));
            let mut device = bus.0.borrow_mut();
            let (head, parts) = device.next(0).expect("a buffer to fill");
            device.put(parts[0].0, &[round; 60]);
            device.finish(0, head, 60);
            let (head, parts) = device.next(1).expect("a frame to send");
            assert_eq!((parts.len(), parts[0].2), (1, false));
            device.finish(1, head, 0);
            drop(device);
            assert!(card.poll_receive().is_none(), "not before it is asked");
            card.ack_interrupt();
            assert_eq!((card.poll_receive(), card.poll_transmit()), (Some(receive), Some(transmit)));
            #[allow(unsafe_code)]
            // SAFETY: the same buffers.
            unsafe {
                card.receive_complete(receive, incoming.bytes_mut()).expect("received");
                card.transmit_complete(transmit, outgoing.bytes()).expect("sent");
            }
            assert_eq!(incoming.bytes()[..60], [round; 60]);
        }
    }
}

#[test]
fn what_lies_outside_the_window_is_never_told() {
    for legacy in [true, false] {
        let (bus, transport, mut window) = connect(legacy);
        bus.0.borrow_mut().configuration = [64u64.to_le_bytes().to_vec(), vec![0; 52]].concat();
        let mut disk = VirtIOBlk::<Shadow, _>::new(transport).expect("it starts");
        assert_eq!((disk.capacity(), disk.readonly()), (64, true));
        let mut places: Vec<Buffer> = [16, 512, 4].map(|len| window.take(len, 16).expect("room")).into();
        let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
        // Its request lies on the stack: that the device never sees, so nothing goes out.
        let outside = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            #[allow(unsafe_code)]
            // SAFETY: the device is a model that does not touch what it was not told.
            unsafe {
                disk.read_blocks_nb(3, &mut request, places[1].bytes_mut(), &mut response)
            }
        }));
        assert!(outside.is_err());
        assert!(bus.0.borrow_mut().next(0).is_none());
        places.clear();
    }
}

#[test]
fn the_features_are_those_that_the_mirror_knows() {
    for legacy in [true, false] {
        let (_, mut transport, _) = connect(legacy);
        let modern = if legacy { 0 } else { 1 << 32 };
        assert_eq!(transport.read_device_features(), 1 << 5 | 1 << 9 | modern);
        transport.set_status(DeviceStatus::ACKNOWLEDGE);
        assert_eq!(transport.get_status(), DeviceStatus::ACKNOWLEDGE);
    }
}

#[test]
fn what_is_no_device_is_told_apart() {
    let find = |kind, version, pages| {
        let bus = Bus::new(version == 1, kind, pages);
        if version > 2 {
            bus.0.borrow_mut().set_register(4, version);
        }
        Checked::new(bus, DeviceType::Block, LAYOUT).map(|_| ()).expect_err("nothing to drive")
    };
    assert_eq!(find(0, 1, 16), Absent::Empty);
    assert_eq!(find(1, 2, 16), Absent::Other(1));
    assert_eq!(find(2, 3, 16), Absent::Version(3));
    assert_eq!(find(2, 2, 5), Absent::Memory);
    let bus = Bus::new(true, 2, 16);
    bus.0.borrow_mut().set_register(0, 0);
    assert_eq!(Checked::new(bus, DeviceType::Block, LAYOUT).map(|_| ()), Err(Absent::Empty));
}

#[test]
fn a_device_that_says_what_cannot_be_is_a_fault() {
    for legacy in [true, false] {
        for (head, index) in [(16, 1), (3, 1), (0, 17)] {
            let (bus, mut transport, mut window, mut queue) = set_up(legacy);
            let buffer = window.take(10, 1).expect("room");
            queue.submit(&mut transport, vec![buffer], vec![]).expect("it is free");
            bus.0.borrow_mut().finish(0, head, 0);
            bus.0.borrow_mut().set_used(0, index);
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.finished(&mut transport)));
            assert!(matches!(found, Err(_) | Ok(Err(Fault::Queue))), "{head} {index}");
        }
    }
}

#[test]
fn a_refusal_of_the_kernel_gives_the_buffers_back() {
    let (bus, mut transport, mut window, mut queue) = set_up(true);
    bus.0.borrow_mut().refuses = true;
    let buffer = window.take(10, 1).expect("room");
    let refused = queue.submit(&mut transport, vec![buffer], vec![]).expect_err("refused");
    assert_eq!(refused.fault, Some(Fault::Kernel(rt::Error::NotPermitted)));
    assert_eq!(refused.read.len(), 1);
    assert!(bus.0.borrow_mut().next(0).is_none() && bus.0.borrow().notified.is_empty());
}

#[test]
fn pieces_of_the_window_are_handed_out_once_and_at_the_same_places() {
    let (_, _, mut window) = connect(false);
    let mut one = window.take(10, 1).expect("room");
    let two = window.take(PAGE as usize, PAGE as usize).expect("room");
    assert_eq!((one.len(), two.len()), (10, 4096));
    assert!(one.set_len(3) && one.bytes().len() == 3 && !one.set_len(0) && !one.set_len(11) && one.set_len(10));
    assert!(window.take(16 * 4096, 1).is_none() && window.take(0, 1).is_none());
}

#[test]
fn a_device_that_was_reset_starts_anew() {
    for legacy in [true, false] {
        let (bus, mut transport, mut window, mut queue) = set_up(legacy);
        let buffer = window.take(10, 1).expect("room");
        queue.submit(&mut transport, vec![buffer], vec![]).expect("it is free");
        // The kernel resets the device; the driver is built anew, and finds its buffers where they were.
        serve(&bus, 0);
        transport.set_status(DeviceStatus::empty());
        let (mut transport, mut window) = Checked::new(bus.clone(), DeviceType::Block, LAYOUT).expect("a device");
        assert_eq!((transport.left(0), transport.left(1)), (1, 0xa5a5), "one request was finished");
        let mut queue = Queue::<16>::new(&mut transport, 0).expect("a queue");
        assert!(bus.0.borrow_mut().next(0).is_none());
        let mut buffer = window.take(10, 1).expect("room");
        buffer.bytes_mut().fill(7);
        let token = queue.submit(&mut transport, vec![], vec![buffer]).expect("it is free");
        assert_eq!(serve(&bus, 0), Some(token));
        assert!(queue.finished(&mut transport).expect("sound").is_some());
    }
}

/// A driver that was rebuilt finds what the device had finished, in order, and which buffers that were.
#[test]
fn what_was_finished_is_found_after_a_reset() {
    for legacy in [true, false] {
        let (bus, mut transport, mut window, mut queue) = set_up(legacy);
        let mut buffers: Vec<Buffer> = (0..4).map(|_| window.take(64, 64).expect("room")).collect();
        let mut finished = 0u16;
        // So often that the ring has gone round; the last three are finished and not taken.
        for round in 0..40u16 {
            let write = buffers.remove(0);
            queue.submit(&mut transport, Vec::new(), vec![write]).expect("it is free");
            if round >= 37 {
                continue;
            }
            serve(&bus, 0).expect("one");
            let done = queue.finished(&mut transport).expect("sound").expect("finished");
            finished += 1;
            buffers.extend(done.write);
        }
        let addresses: Vec<u64> = (0..3)
            .map(|_| {
                let token = serve(&bus, 0).expect("one");
                transport.bus_address(0, token)
            })
            .collect();
        let (again, _) = Checked::new(bus.clone(), DeviceType::Block, LAYOUT).expect("a block device");
        let found = again.leftovers(0, 16, finished);
        assert_eq!(found.iter().map(|one| one.address).collect::<Vec<_>>(), addresses);
        assert_eq!(again.leftovers(0, 16, finished + 2).len(), 1);
        assert!(again.leftovers(0, 16, finished + 3).is_empty());
    }
}
