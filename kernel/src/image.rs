//! The boot image: checked once, constant from then on.

use abi::image::{self, Image, ImageError};
use spin::Once;

static IMAGE: Once<Image<'static>> = Once::new();

/// The boot image.
pub fn image() -> &'static Image<'static> {
    IMAGE.get().expect("checked at boot, before anything asks for it")
}

/// Checks the boot image and keeps it. A damaged one ends the boot with a message that names what is wrong.
pub fn accept(bytes: &'static [u8]) -> &'static Image<'static> {
    IMAGE.call_once(|| image::parse(bytes).unwrap_or_else(|error| refuse(bytes, error)))
}

/// Refuses the boot image, saying what is wrong with which entry.
fn refuse(bytes: &[u8], error: ImageError) -> ! {
    use ImageError::{Field, SegmentChecksum};
    match error {
        Field { entry, field } => panic!("boot image: {}: bad {field}", image::name_in(bytes, entry)),
        SegmentChecksum { entry, segment } => {
            panic!("boot image: {}: {segment} is damaged", image::name_in(bytes, entry))
        }
        other => panic!("boot image refused: {other:?}"),
    }
}
