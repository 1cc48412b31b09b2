plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "org.edgepack.harness"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.edgepack.harness"
        minSdk = 21
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }

    buildFeatures {
        buildConfig = true
    }

    compileOptions {
        // what android_harness/verify.py compiles too
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    flavorDimensions += "runtime"
    productFlavors {
        create("legacy") {
            dimension = "runtime"
            applicationIdSuffix = ".legacy"
            ndk { abiFilters += listOf("armeabi-v7a", "arm64-v8a") }
            buildConfigField("String", "RUNTIME", "\"tflite\"")
            buildConfigField("String", "RUNTIME_VERSION", "\"${libs.versions.tflite.get()}\"")
        }
        create("modern") {
            dimension = "runtime"
            applicationIdSuffix = ".modern"
            minSdk = 23
            ndk { abiFilters += listOf("arm64-v8a") }
            buildConfigField("String", "RUNTIME", "\"litert\"")
            buildConfigField("String", "RUNTIME_VERSION", "\"${libs.versions.litert.get()}\"")
        }
    }
}

// run-as reads the app's folder in a debuggable build only: the harness is nothing else
androidComponents {
    beforeVariants(selector().withBuildType("release")) { it.enable = false }
}

dependencies {
    "legacyImplementation"(libs.tflite)
    "legacyImplementation"(libs.tflite.gpu)
    "legacyImplementation"(libs.tflite.gpu.api)
    "modernImplementation"(libs.litert)
    "modernImplementation"(libs.litert.gpu)
    "modernImplementation"(libs.litert.gpu.api)
}
