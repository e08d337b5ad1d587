//! The zoo: blocks and families of networks that come with kiln, as the texts of `compiler/zoo`.

/// A file of the zoo: blocks to build with, or a family of networks.
#[derive(Debug)]
pub struct Family {
    /// The file without `.net`; `use zoo::NAME;` in the language.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// How other programs name its weights: rules for [`crate::checkpoint::convention`].
    pub names: &'static str,
    /// Its networks.
    pub variants: &'static [Variant],
}

/// A network of the zoo.
#[derive(Debug)]
pub struct Variant {
    /// `zoo::NAME` in the language, `zoo:NAME` for the program.
    pub name: &'static str,
    /// What its file calls it.
    pub net: &'static str,
    /// Whose names its weights have, as `framework/model`: torchvision's, timm's, Keras', or those of other reference code.
    /// `paper` where there is none.
    pub source: &'static str,
}

const fn variant(name: &'static str, net: &'static str, source: &'static str) -> Variant {
    Variant { name, net, source }
}

macro_rules! family {
    ($name:literal, [$($variant:expr),* $(,)?] $(, $names:literal)?) => {
        Family {
            name: $name,
            text: include_str!(concat!("../../zoo/", $name, ".net")),
            names: concat!($(include_str!(concat!("../../zoo/", $names)))?),
            variants: &[$($variant),*],
        }
    };
}

/// The families in alphabetical order.
pub static FAMILIES: &[Family] = &[
    family!("alexnet", [variant("alexnet", "AlexNet", "torchvision/alexnet"),]),
    family!("blocks", []),
    family!("bn_inception", [variant("bninception", "BNInception", "pretrainedmodels/bninception")]),
    family!(
        "cifar_resnet",
        [
            variant("cifar_resnet20", "CifarResNet20", "pytorch_resnet_cifar10/resnet20"),
            variant("cifar_resnet32", "CifarResNet32", "pytorch_resnet_cifar10/resnet32"),
            variant("cifar_resnet44", "CifarResNet44", "pytorch_resnet_cifar10/resnet44"),
            variant("cifar_resnet56", "CifarResNet56", "pytorch_resnet_cifar10/resnet56"),
            variant("cifar_resnet110", "CifarResNet110", "pytorch_resnet_cifar10/resnet110")
        ]
    ),
    family!(
        "densenet",
        [
            variant("densenet121", "DenseNet121", "torchvision/densenet121"),
            variant("densenet161", "DenseNet161", "torchvision/densenet161"),
            variant("densenet169", "DenseNet169", "torchvision/densenet169"),
            variant("densenet201", "DenseNet201", "torchvision/densenet201"),
            variant("separable_densenet121", "SeparableDenseNet121", "paper"),
        ]
    ),
    family!(
        "efficientnet",
        [
            variant("efficientnet_b0", "EfficientNetB0", "torchvision/efficientnet_b0"),
            variant("efficientnet_b1", "EfficientNetB1", "torchvision/efficientnet_b1"),
            variant("efficientnet_b2", "EfficientNetB2", "torchvision/efficientnet_b2"),
            variant("efficientnet_b3", "EfficientNetB3", "torchvision/efficientnet_b3"),
            variant("efficientnet_b4", "EfficientNetB4", "torchvision/efficientnet_b4"),
            variant("efficientnet_b5", "EfficientNetB5", "torchvision/efficientnet_b5"),
            variant("efficientnet_b6", "EfficientNetB6", "torchvision/efficientnet_b6"),
            variant("efficientnet_b7", "EfficientNetB7", "torchvision/efficientnet_b7"),
        ]
    ),
    family!(
        "efficientnet_lite",
        [
            variant("tf_efficientnet_lite0", "EfficientNetLite0", "timm/tf_efficientnet_lite0"),
            variant("tf_efficientnet_lite1", "EfficientNetLite1", "timm/tf_efficientnet_lite1"),
            variant("tf_efficientnet_lite2", "EfficientNetLite2", "timm/tf_efficientnet_lite2"),
            variant("tf_efficientnet_lite3", "EfficientNetLite3", "timm/tf_efficientnet_lite3"),
            variant("tf_efficientnet_lite4", "EfficientNetLite4", "timm/tf_efficientnet_lite4"),
        ],
        "efficientnet_lite.names"
    ),
    family!("ghostnet", [variant("ghostnet_100", "GhostNet", "timm/ghostnet_100"),]),
    family!("googlenet", [variant("googlenet", "GoogLeNet", "torchvision/googlenet"),]),
    family!(
        "inception_resnet_v1",
        [variant("inception_resnet_v1", "InceptionResNetV1", "facenet-pytorch/InceptionResnetV1")]
    ),
    family!("inception_resnet_v2", [variant("inception_resnet_v2", "InceptionResNetV2", "timm/inception_resnet_v2"),]),
    family!("inception_v3", [variant("inception_v3", "InceptionV3", "torchvision/inception_v3"),]),
    family!("inception_v4", [variant("inception_v4", "InceptionV4", "timm/inception_v4"),]),
    family!(
        "keras_inception_resnet_v2",
        [variant("keras_inception_resnet_v2", "KerasInceptionResNetV2", "keras/InceptionResNetV2"),]
    ),
    family!("keras_mobilenet", [variant("keras_mobilenet", "KerasMobileNet", "keras/MobileNet")]),
    family!(
        "keras_resnet",
        [
            variant("keras_resnet50", "KerasResNet50", "keras/ResNet50"),
            variant("keras_resnet101", "KerasResNet101", "keras/ResNet101"),
            variant("keras_resnet152", "KerasResNet152", "keras/ResNet152"),
        ]
    ),
    family!(
        "keras_resnet_v2",
        [
            variant("keras_resnet50v2", "KerasResNet50V2", "keras/ResNet50V2"),
            variant("keras_resnet101v2", "KerasResNet101V2", "keras/ResNet101V2"),
            variant("keras_resnet152v2", "KerasResNet152V2", "keras/ResNet152V2"),
        ]
    ),
    family!("keras_xception", [variant("keras_xception", "KerasXception", "keras/Xception")]),
    family!("lenet5", [variant("lenet5", "LeNet5", "paper")]),
    family!(
        "mnasnet",
        [
            variant("mnasnet0_5", "MnasNet0_5", "torchvision/mnasnet0_5"),
            variant("mnasnet0_75", "MnasNet0_75", "torchvision/mnasnet0_75"),
            variant("mnasnet1_0", "MnasNet1_0", "torchvision/mnasnet1_0"),
            variant("mnasnet1_3", "MnasNet1_3", "torchvision/mnasnet1_3"),
        ]
    ),
    family!("mobilenet_v1", [variant("mobilenet_v1", "MobileNetV1", "timm/mobilenetv1_100"),]),
    family!(
        "mobilenet_v2",
        [
            variant("mobilenet_v2", "MobileNetV2", "torchvision/mobilenet_v2"),
            variant("mobilenetv2_050", "MobileNetV2x050", "timm/mobilenetv2_050"),
            variant("mobilenetv2_140", "MobileNetV2x140", "timm/mobilenetv2_140"),
        ]
    ),
    family!(
        "mobilenet_v3",
        [
            variant("mobilenet_v3_large", "MobileNetV3Large", "torchvision/mobilenet_v3_large"),
            variant("mobilenet_v3_small", "MobileNetV3Small", "torchvision/mobilenet_v3_small"),
            variant("mobilenetv3_large_100", "TimmMobileNetV3Large100", "timm/mobilenetv3_large_100"),
            variant("mobilenetv3_small_050", "TimmMobileNetV3Small050", "timm/mobilenetv3_small_050"),
        ]
    ),
    family!(
        "regnet",
        [
            variant("regnet_x_400mf", "RegNetX400MF", "torchvision/regnet_x_400mf"),
            variant("regnet_y_400mf", "RegNetY400MF", "torchvision/regnet_y_400mf"),
        ]
    ),
    family!(
        "repvgg",
        [variant("repvgg_a0", "RepVGGA0", "timm/repvgg_a0"), variant("repvgg_b0", "RepVGGB0", "timm/repvgg_b0"),]
    ),
    family!(
        "resnet",
        [
            variant("resnet18", "ResNet18", "torchvision/resnet18"),
            variant("resnet34", "ResNet34", "torchvision/resnet34"),
            variant("resnet50", "ResNet50", "torchvision/resnet50"),
            variant("resnet101", "ResNet101", "torchvision/resnet101"),
            variant("resnet152", "ResNet152", "torchvision/resnet152"),
            variant("resnext50_32x4d", "ResNeXt50", "torchvision/resnext50_32x4d"),
            variant("resnext101_32x8d", "ResNeXt101", "torchvision/resnext101_32x8d"),
            variant("wide_resnet50_2", "WideResNet50", "torchvision/wide_resnet50_2"),
            variant("seresnet50", "SEResNet50", "timm/seresnet50"),
            variant("seresnet101", "SEResNet101", "timm/seresnet101"),
            variant("seresnext50_32x4d", "SEResNeXt50", "timm/seresnext50_32x4d"),
        ]
    ),
    family!("resnet_v2", [variant("resnetv2_50", "ResNetV2_50", "timm/resnetv2_50"),]),
    family!("senet", [variant("senet154", "SENet154", "timm/legacy_senet154"),]),
    family!(
        "shufflenet_v1",
        [
            variant("shufflenet_v1_g1", "ShuffleNetV1g1", "mmpretrain/shufflenet-v1"),
            variant("shufflenet_v1_g2", "ShuffleNetV1g2", "mmpretrain/shufflenet-v1"),
            variant("shufflenet_v1_g3", "ShuffleNetV1g3", "mmpretrain/shufflenet-v1-1x"),
            variant("shufflenet_v1_g4", "ShuffleNetV1g4", "mmpretrain/shufflenet-v1"),
            variant("shufflenet_v1_g8", "ShuffleNetV1g8", "mmpretrain/shufflenet-v1")
        ]
    ),
    family!(
        "shufflenet_v2",
        [
            variant("shufflenet_v2_x0_5", "ShuffleNetV2x0_5", "torchvision/shufflenet_v2_x0_5"),
            variant("shufflenet_v2_x1_0", "ShuffleNetV2x1_0", "torchvision/shufflenet_v2_x1_0"),
            variant("shufflenet_v2_x1_5", "ShuffleNetV2x1_5", "torchvision/shufflenet_v2_x1_5"),
            variant("shufflenet_v2_x2_0", "ShuffleNetV2x2_0", "torchvision/shufflenet_v2_x2_0"),
        ]
    ),
    family!(
        "squeezenet",
        [
            variant("squeezenet1_0", "SqueezeNet1_0", "torchvision/squeezenet1_0"),
            variant("squeezenet1_1", "SqueezeNet1_1", "torchvision/squeezenet1_1"),
        ]
    ),
    family!(
        "vgg",
        [
            variant("vgg11", "VGG11", "torchvision/vgg11"),
            variant("vgg13", "VGG13", "torchvision/vgg13"),
            variant("vgg16", "VGG16", "torchvision/vgg16"),
            variant("vgg19", "VGG19", "torchvision/vgg19"),
            variant("vgg11_bn", "VGG11BN", "torchvision/vgg11_bn"),
            variant("vgg13_bn", "VGG13BN", "torchvision/vgg13_bn"),
            variant("vgg16_bn", "VGG16BN", "torchvision/vgg16_bn"),
            variant("vgg19_bn", "VGG19BN", "torchvision/vgg19_bn"),
        ]
    ),
    family!("xception", [variant("xception", "Xception", "timm/legacy_xception"),]),
];

/// What `zoo:NAME` is: a variant with the net that its family calls so, or a family.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The file.
    pub family: &'static Family,
    /// The net in it; nothing where the name is the family's, and its one `net` is meant.
    pub net: Option<&'static str>,
}

/// What a name stands for.
pub fn find(name: &str) -> Option<Entry> {
    let variant = variants().find(|(_, variant)| variant.name == name);
    let variant = variant.map(|(family, variant)| Entry { family, net: Some(variant.net) });
    variant.or_else(|| {
        let family = FAMILIES.iter().find(|family| family.name == name)?;
        Some(Entry { family, net: None })
    })
}

/// All networks, each with its family.
pub fn variants() -> impl Iterator<Item = (&'static Family, &'static Variant)> {
    FAMILIES.iter().flat_map(|family| family.variants.iter().map(move |variant| (family, variant)))
}

/// The names that `zoo::NAME` takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.name).chain(variants().map(|(_, variant)| variant.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::{nets, parse_text};

    #[test]
    fn every_file_of_the_zoo_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".net").map(String::from))
            .collect();
        files.sort();
        assert_eq!(files, FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>());
    }

    #[test]
    fn every_public_net_is_a_variant_or_its_family() {
        for family in FAMILIES {
            let spec = parse_text(family.name, family.text).unwrap_or_else(|error| panic!("{error}"));
            for net in nets(&spec) {
                let written_out = spec.nets().any(|written| written.function.name.name == net);
                let listed = family.variants.iter().any(|variant| variant.net == net);
                assert!(listed || written_out, "{net} of {} has no name", family.name);
            }
            for variant in family.variants {
                assert!(nets(&spec).contains(&variant.net), "{} has no {}", family.name, variant.net);
            }
        }
    }

    #[test]
    fn no_two_networks_share_a_name() {
        let mut names: Vec<&str> = variants().map(|(_, variant)| variant.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
