kiln::network! {
    fn inverted_residual(x, channels, stride) {
        let mut y = x.conv(16, 1, name = "0");
        y = y.conv(channels, 1, bias = false, name = "1").bn(name = "2");
        if stride == 1 { x + y } else { y }
    }

    pub net Net(image: [1, 24, 56, 56]) {
        inverted_residual(image, 32, 1, name = "features.3.conv")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
