kiln::network! {
    pub net Net(image: [1, 3, 8, 8]) {
        let x = image.Conv2d(16, 3).batch_norm().relu();
        let y = cat([x, x], dim = 1).max_pool2d(2);
        let z = torch.cat([x, y]);
        y.conv(8, kernel_size = 3).layer_norm().flatten().dense(10)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
