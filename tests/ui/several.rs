kiln::network! {
    fn block(x, channels) {
        x.conv(channels, 3, pading = 1).bn().relu7()
    }

    pub net Net(image: [1, 3, 8, 8]) {
        let x = block(image, 16);
        let y = image.conv(16, 1) + image.conv(8, 1);
        x.conv(10, "3") + y
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
