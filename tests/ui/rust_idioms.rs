kiln::network! {
    fn head(x) {
        let widths = vec![16, 32];
        x.conv(16, 3, name = format!("conv.{i}"))
    }

    pub net Net(image: [1, 3, 8, 8]) {
        let mut x = &image;
        println!("{x}");
        let more = [1, 2].map(|w| w * 2);
        head(x)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
